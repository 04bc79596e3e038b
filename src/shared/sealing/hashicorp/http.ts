import type { Secret } from '../../platform/secret.ts';

/** An answer of Vault or OpenBao. `errors` are its own words: for our log, never for a caller. */
export type VaultReply = { status: number; data: Record<string, unknown>; errors: string[]; retryAfterMs?: number };

/** One request without any policy: a reply of any status is returned. Throws when there is none within five seconds. */
export type VaultSend = (method: string, path: string, token: Secret | null, body?: object) => Promise<VaultReply>;

const TIMEOUT_MS = 5_000;
const MAX_REPLY_BYTES = 4 * 1024 * 1024;

/** @param address base URL of the server, without `/v1`. */
export function makeVaultSend(address: string, namespace: string | undefined): VaultSend {
  const url = address.replace(/\/+$/, '');
  return (method, path, token, body) =>
    request(url, path, {
      method,
      headers: {
        'X-Vault-Request': 'true',
        ...(token && { 'X-Vault-Token': token.reveal() }),
        ...(namespace && { 'X-Vault-Namespace': namespace }),
        ...(body && { 'Content-Type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
}

/** Follows one redirect, as a standby without request forwarding sends to the active node, but never from https to http. */
async function request(url: string, path: string, init: RequestInit): Promise<VaultReply> {
  const first = await fetch(`${url}/v1/${path}`, init);
  const location = first.status === 307 ? first.headers.get('location') : null;
  if (!location || (url.startsWith('https:') && !location.startsWith('https:'))) return readReply(first);
  await first.body?.cancel();
  return readReply(await fetch(location, init));
}

async function readReply(response: Response): Promise<VaultReply> {
  const text = await response.text();
  if (text.length > MAX_REPLY_BYTES) throw new Error('the reply of Vault is too large');
  const retryAfter = Number(response.headers.get('retry-after') ?? Number.NaN);
  const parsed = parseObject(text);
  const data = parsed.data ?? parsed.auth ?? parsed;
  return {
    status: response.status,
    data: isObject(data) ? data : {},
    errors: Array.isArray(parsed.errors) ? parsed.errors.filter((error) => typeof error === 'string') : [],
    ...(Number.isFinite(retryAfter) && { retryAfterMs: retryAfter * 1000 }),
  };
}

/** A proxy before Vault may answer with anything; its status says enough then. */
function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
