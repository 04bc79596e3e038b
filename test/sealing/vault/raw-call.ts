/** A reply as it came, with the headers that mean something. */
export type RawReply = { status: number; headers: Record<string, string>; body: string };

const HEADERS = ['content-type', 'location', 'retry-after', 'x-ratelimit-limit', 'x-ratelimit-remaining'];

/** One request to Vault's HTTP API, without any of our own client's code. */
export async function rawCall(
  address: string,
  method: string,
  path: string,
  options: { token?: string; body?: object; headers?: Record<string, string> },
): Promise<RawReply> {
  const response = await fetch(`${address}/v1/${path}`, {
    method,
    headers: { ...options.headers, ...(options.token !== undefined && { 'X-Vault-Token': options.token }) },
    redirect: 'manual',
    ...(options.body && { body: JSON.stringify(options.body) }),
  });
  const headers = HEADERS.flatMap((name) => {
    const value = response.headers.get(name);
    return value === null ? [] : [[name, value]];
  });
  return { status: response.status, headers: Object.fromEntries(headers), body: await response.text() };
}

/** A `rawCall` that must succeed; gives the `data` (or `auth`) of the reply. */
export async function admin(
  server: { address: string; token: string },
  method: string,
  path: string,
  body?: object,
): Promise<Record<string, unknown>> {
  const reply = await rawCall(server.address, method, path, { token: server.token, ...(body && { body }) });
  if (reply.status >= 300) throw new Error(`${method} ${path}: ${reply.status} ${reply.body}`);
  const parsed = reply.body === '' ? {} : JSON.parse(reply.body);
  return parsed.data ?? parsed.auth ?? parsed;
}
