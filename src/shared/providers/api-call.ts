import { AppError } from '../platform/errors.ts';
import type { Secret } from '../platform/secret.ts';
import { abortError } from './bounded.ts';
import type { CallOptions, ProviderDeps } from './contract.ts';
import { type FailureContext, noReply, systemErrorCode } from './errors.ts';
import type { ApiCall, OAuthQuirks } from './quirks.ts';
import type { ClientIdentity } from './settings.ts';

/** An answer of a provider's API. `text` never leaves this folder. */
export type ApiReply = { status: number; retryAfter: string | undefined; text: string };

export type ApiCaller = (
  call: ApiCall,
  token: Secret,
  context: FailureContext,
  options: CallOptions,
) => Promise<ApiReply>;

const MAX_REPLY_BYTES = 128 * 1024;

type CallerQuirks = Pick<OAuthQuirks, 'clientAuth' | 'bodyFormat' | 'headers'>;

/**
 * Makes the calls that a provider's table describes. An answer of any status is returned; no answer throws
 * `provider_unavailable`, an abort of the signal `interrupted`. Redirects are not followed: they would carry the token.
 */
export function makeApiCaller(quirks: CallerQuirks, client: ClientIdentity, deps: ProviderDeps): ApiCaller {
  return async (call, token, context, options) => {
    if (options.signal.aborted) throw abortError(options.signal);
    const request = buildRequest(call, token.reveal(), quirks, client);
    try {
      const signal = AbortSignal.any([options.signal, AbortSignal.timeout(deps.timeoutMs)]);
      const response = await fetch(request.url, { ...request, redirect: 'manual', signal });
      const retryAfter = response.headers.get('retry-after') ?? undefined;
      return { status: response.status, retryAfter, text: await readBounded(response) };
    } catch (error) {
      if (options.signal.aborted) throw abortError(options.signal);
      if (error instanceof AppError) throw error;
      const timedOut = error instanceof Error && error.name === 'TimeoutError';
      throw noReply(timedOut ? 'timed out' : (systemErrorCode(error) ?? 'no answer'), context);
    }
  };
}

/** Basic client authentication with both parts in form encoding (RFC 6749 §2.3.1). */
function basicAuth({ id, secret }: ClientIdentity): string {
  const encode = (value: string) => new URLSearchParams({ '': value }).toString().slice(1);
  return `Basic ${Buffer.from(`${encode(id)}:${encode(secret)}`).toString('base64')}`;
}

function buildRequest(call: ApiCall, token: string, quirks: CallerQuirks, client: ClientIdentity) {
  const fill = (values: Record<string, string> = {}) =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value.replace('{token}', () => token)]));
  const asClient = call.asClient === true;
  const fields = {
    ...fill(call.body),
    ...(asClient && quirks.clientAuth !== 'basic' && { client_id: client.id }),
    ...(asClient && quirks.clientAuth === 'post' && { client_secret: client.secret }),
  };
  const json = quirks.bodyFormat === 'json';
  const hasBody = Object.keys(fields).length > 0;
  return {
    url: call.url.replace('{token}', () => encodeURIComponent(token)),
    method: call.method,
    headers: {
      Accept: 'application/json',
      ...quirks.headers,
      ...(hasBody && { 'Content-Type': json ? 'application/json' : 'application/x-www-form-urlencoded' }),
      ...(asClient && quirks.clientAuth === 'basic' && { Authorization: basicAuth(client) }),
      ...fill(call.headers),
    },
    ...(hasBody && { body: json ? JSON.stringify(fields) : new URLSearchParams(fields).toString() }),
  };
}

/** The body as text, cut at a size that no honest answer reaches. */
export async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_REPLY_BYTES) break;
  }
  return Buffer.concat(chunks).toString();
}
