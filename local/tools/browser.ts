/** The part of a browser that matters to OAuth: it keeps cookies and can be told to stop before a redirect. */
export type Browser = {
  /** One request with the cookies kept so far. Redirects are not followed. */
  request(url: string | URL, init?: RequestInit): Promise<Response>;
  /** Follows redirects from `url` until `stop` says so of an address, which is not visited, or a page is reached. */
  follow(url: string | URL, options?: FollowOptions): Promise<{ url: string; response: Response | null }>;
};

export type FollowOptions = {
  stop?: (url: URL) => boolean;
  /** What to send instead of a GET, by address. */
  init?: (url: URL) => RequestInit;
};

const MAX_REDIRECTS = 10;

/** A browser with an empty cookie jar: a person of its own. Cookies are kept by origin and path. */
export function openBrowser(): Browser {
  const jar = new Map<string, { origin: string; path: string; pair: string }>();

  const request = async (address: string | URL, init: RequestInit = {}) => {
    const url = new URL(address);
    const sent = [...jar.values()].filter(({ origin, path }) => origin === url.origin && url.pathname.startsWith(path));
    const headers = new Headers(init.headers);
    if (sent.length > 0) headers.set('cookie', sent.map(({ pair }) => pair).join('; '));
    const response = await fetch(url, { ...init, headers, redirect: 'manual' });
    for (const line of response.headers.getSetCookie()) {
      const [pair = '', ...attributes] = line.split(/;\s*/);
      const path = attributes.find((attribute) => /^path=/i.test(attribute))?.slice('path='.length) ?? '/';
      const [name] = pair.split('=');
      const key = `${url.origin} ${path} ${name}`;
      if (pair.endsWith('=')) jar.delete(key);
      else jar.set(key, { origin: url.origin, path, pair });
    }
    return response;
  };

  const follow: Browser['follow'] = async (address, { stop = () => false, init = () => ({}) } = {}) => {
    let url = new URL(address);
    for (let hop = 0; hop < MAX_REDIRECTS; hop += 1) {
      if (stop(url)) return { url: url.href, response: null };
      const response = await request(url, init(url));
      const location = response.headers.get('location');
      if (location === null) return { url: url.href, response };
      await response.body?.cancel();
      url = new URL(location, url);
    }
    throw new Error(`more than ${MAX_REDIRECTS} redirects`);
  };

  return { request, follow };
}
