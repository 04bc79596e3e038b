/** What an OAuth client does at an authorization server by itself, past Keyturn: to check what Keyturn says. */

type Client = { clientId: string; clientSecret: string };

/** The `authorization` header of a client (RFC 6749 §2.3.1). */
export function basicAuth({ clientId, clientSecret }: Client): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}` };
}

/** Registers a client (RFC 7591). Throws with the answer when it is refused. */
export async function registerClient(issuer: string, body: Record<string, unknown>): Promise<Record<string, string>> {
  const response = await fetch(`${issuer}/reg`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (response.status !== 201) throw new Error(`registration: ${response.status} ${await response.text()}`);
  return (await response.json()) as Record<string, string>;
}

/** Whether the server calls a token active when its client asks (RFC 7662). */
export async function isTokenActive(server: Client & { issuer: string }, token: string): Promise<boolean> {
  const response = await fetch(`${server.issuer}/token/introspection`, {
    method: 'POST',
    headers: basicAuth(server),
    body: new URLSearchParams({ token }),
  });
  return ((await response.json()) as { active: boolean }).active;
}

/** Whether the server gives a client a token for this secret (RFC 6749 §4.4). */
export async function isClientSecretGood(issuer: string, client: Client): Promise<boolean> {
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: basicAuth(client),
    body: new URLSearchParams({ grant_type: 'client_credentials' }),
  });
  await response.body?.cancel();
  return response.status === 200;
}
