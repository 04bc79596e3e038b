/** Dynamic client registration (RFC 7591) and its management (RFC 7592), as far as a rotation needs them. */
import { z } from 'zod';
import { AppError } from '../../../platform/errors.ts';
import type { Secret } from '../../../platform/secret.ts';
import { readBounded } from '../../../providers/api-call.ts';
import { abortError } from '../../../providers/bounded.ts';
import { type FailureContext, noReply, replyFailure, systemErrorCode } from '../../../providers/errors.ts';
import type { RotationCall } from './contract.ts';

const clientSchema = z.looseObject({
  client_id: z.string(),
  client_secret: z.string().optional(),
  /** Seconds since the epoch; 0: never. */
  client_secret_expires_at: z.number().optional(),
  registration_access_token: z.string().optional(),
  registration_client_uri: z.string().optional(),
  grant_types: z.array(z.string()).optional(),
  token_endpoint_auth_method: z.string().optional(),
});

/** A client as its server describes it (RFC 7591 §3.2.1). Holds secrets: for memory only. */
export type ClientConfiguration = z.infer<typeof clientSchema>;

type Called = Pick<RotationCall, 'credential' | 'clock' | 'timeoutMs' | 'signal'>;
type Place = { uri: string; token: Secret };
type Reply = { status: number; retryAfter: string | undefined; body: unknown };

/** RFC 7592 §2.1. Throws `provider_*`. */
export async function readClient(call: Called, place: Place): Promise<ClientConfiguration> {
  return parsed(call, await send(call, place.uri, { method: 'GET', headers: bearer(place.token) }), 200);
}

/** RFC 7591 §3.1. Waits for the answer whatever `call.signal` says: it exists only once. Throws `provider_*`. */
export async function registerClient(
  call: Called,
  endpoint: string,
  initialAccessToken: Secret | null,
  body: Record<string, unknown>,
): Promise<ClientConfiguration> {
  const headers = { ...(initialAccessToken && bearer(initialAccessToken)), 'Content-Type': 'application/json' };
  const request = { method: 'POST', headers, body: JSON.stringify(body) };
  return parsed(call, await send({ ...call, signal: NEVER }, endpoint, request), 201);
}

const NEVER = new AbortController().signal;

/** RFC 7592 §2.3. `refused`: the client is gone, or the token is not its own. Throws `provider_*`. */
export async function deleteClient(call: Called, place: Place): Promise<'deleted' | 'refused'> {
  const reply = await send(call, place.uri, { method: 'DELETE', headers: bearer(place.token) });
  if (reply.status === 204 || reply.status === 200) return 'deleted';
  if (reply.status === 401 || reply.status === 404) return 'refused';
  throw failureOf(call, reply);
}

export type ClientIdentity = { tokenUrl: string; clientId: string; clientSecret: Secret; method: string };

/** Whether the client gets a token by the client-credentials grant (RFC 6749 §4.4). Throws `provider_*` where that is not said. */
export async function authenticates(call: Called, client: ClientIdentity): Promise<boolean> {
  const form = new URLSearchParams({ grant_type: 'client_credentials' });
  const basic = client.method === 'client_secret_basic';
  if (!basic) {
    form.set('client_id', client.clientId);
    form.set('client_secret', client.clientSecret.reveal());
  }
  const reply = await send(call, client.tokenUrl, {
    method: 'POST',
    headers: basic ? { Authorization: basicAuth(client) } : {},
    body: form,
  });
  const { error, access_token } = z.looseObject({}).catch({}).parse(reply.body);
  if (reply.status === 200 && typeof access_token === 'string') return true;
  if (reply.status === 401 || error === 'invalid_client') return false;
  throw failureOf(call, reply);
}

/** RFC 6749 §2.3.1: both parts in form encoding. */
function basicAuth({ clientId, clientSecret }: ClientIdentity): string {
  const encode = (value: string) => new URLSearchParams({ '': value }).toString().slice(1);
  return `Basic ${Buffer.from(`${encode(clientId)}:${encode(clientSecret.reveal())}`).toString('base64')}`;
}

function bearer(token: Secret) {
  return { Authorization: `Bearer ${token.reveal()}` };
}

function contextOf({ credential, clock }: Called): FailureContext {
  return { service: credential.service, operation: 'register', nowMs: clock.now() };
}

function failureOf(call: Called, reply: Reply): AppError {
  const error = replyFailure(reply, contextOf(call));
  if (error.code !== 'provider_misconfigured') return error;
  return new AppError(error.code, {
    internal: error.internal ?? '',
    detail: 'The server refuses the registration or initial access token, or its address is wrong.',
  });
}

function parsed(call: Called, reply: Reply, status: number): ClientConfiguration {
  if (reply.status !== status && reply.status !== 200) throw failureOf(call, reply);
  const client = clientSchema.safeParse(reply.body);
  if (client.success) return client.data;
  throw new AppError('provider_unavailable', { internal: 'register: an answer of another form' });
}

/** Redirects are not followed: they would carry the token elsewhere. */
async function send(call: Called, url: string, request: RequestInit): Promise<Reply> {
  if (call.signal.aborted) throw abortError(call.signal);
  const signal = AbortSignal.any([call.signal, AbortSignal.timeout(call.timeoutMs)]);
  const headers = { Accept: 'application/json', ...(request.headers as Record<string, string>) };
  try {
    const response = await fetch(url, { ...request, headers, redirect: 'manual', signal });
    const retryAfter = response.headers.get('retry-after') ?? undefined;
    return { status: response.status, retryAfter, body: parseJson(await readBounded(response)) };
  } catch (error) {
    if (call.signal.aborted) throw abortError(call.signal);
    throw noReply(systemErrorCode(error) ?? 'no answer', contextOf(call));
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
