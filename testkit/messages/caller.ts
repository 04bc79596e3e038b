/** An answer of the API. `body` is its JSON; `{}` where it is none. */
// biome-ignore lint/suspicious/noExplicitAny: replies are asserted, not typed.
export type Answer = { status: number; headers: Headers; text: string; body: any };

/** One caller of the API. A `body` that is no string is sent as JSON; `headers` come on top. */
export type Caller = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<Answer>;

/** Calls the API at `baseUrl` with an API key. */
export function callerAt(baseUrl: string, key: string): Caller {
  return async (method, path, body, headers = {}) => {
    const response = await fetch(`${baseUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return toAnswer(response);
  };
}

/** Reads a reply to its end. */
export async function toAnswer(response: Response): Promise<Answer> {
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json');
  const body = isJson && text !== '' ? JSON.parse(text) : {};
  return { status: response.status, headers: response.headers, text, body };
}
