/** Posts to addresses that tenants have chosen: guarded, bounded in time and size, never redirected. */
import { type lookup, Resolver } from 'node:dns';
import http from 'node:http';
import https from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { z } from 'zod';
import { parseRetryAfter, systemErrorCode } from '../../providers/errors.ts';
import { isPublicAddress } from './address-guard.ts';

export type OutboundRequest = {
  url: string;
  headers: Record<string, string>;
  body: string;
  signal: AbortSignal;
};

/** An answer, `body` cut at the bound; or in a stable word why there is none. */
export type OutboundReply = { status: number; retryAfterMs: number | undefined; body: string } | { failed: string };

export type Outbound = (request: OutboundRequest) => Promise<OutboundReply>;

export type OutboundOptions = {
  /** Loopback and private addresses, and plain http. */
  allowPrivate: boolean;
  /** Bound of the whole call. */
  timeoutMs: number;
  clock: { now(): number };
};

const MAX_BYTES = 16 * 1024;
/** Shorter than a usual server keeps an idle connection, so that it is not closed under a request of ours. */
const IDLE_MS = 4_000;
const REFUSED = 'address_refused';

/** The schema of an address that a tenant chose, in the settings of a sink. */
export function outboundUrl(allowPrivate: boolean): z.ZodType<string> {
  return z
    .string()
    .max(2_000)
    .superRefine((url, context) => {
      const refusal = refusalOf(url, allowPrivate);
      if (refusal) context.addIssue({ code: 'custom', message: refusal });
    });
}

/** Why a URL is not acceptable as such, or null. Names are checked when they are resolved, at each connection. */
export function refusalOf(url: string, allowPrivate: boolean): string | null {
  if (!URL.canParse(url)) return 'must be an absolute URL';
  const { protocol, hostname, username, password } = new URL(url);
  if (username || password) return 'must not hold a user name or a password';
  if (protocol !== 'https:' && !(allowPrivate && protocol === 'http:')) return 'must begin with https://';
  const address = hostname.replace(/^\[|\]$/g, '');
  if (!allowPrivate && isIP(address) && !isPublicAddress(address)) return 'must be a public address';
  return null;
}

/** A poster with connections of its own. It pins the address that was checked: a name cannot change in between. */
export function makeOutbound(options: OutboundOptions): Outbound {
  const agents = {
    'http:': new http.Agent({ keepAlive: true, timeout: IDLE_MS }),
    'https:': new https.Agent({ keepAlive: true, timeout: IDLE_MS }),
  };
  const find = options.allowPrivate ? undefined : guardedLookup();
  return async (request) => {
    if (refusalOf(request.url, options.allowPrivate) !== null) return { failed: REFUSED };
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(options.timeoutMs)]);
    const once = () => post(request, { signal, agents, find, now: options.clock.now() });
    const first = await once();
    // The other side closed an idle connection just when we used it: nothing was processed.
    return 'stale' in first ? withoutStale(await once()) : first;
  };
}

type Call = {
  signal: AbortSignal;
  agents: Record<string, http.Agent>;
  find: LookupFunction | undefined;
  now: number;
};

type Outcome = OutboundReply | { stale: true };

function withoutStale(outcome: Outcome): OutboundReply {
  return 'stale' in outcome ? { failed: 'ECONNRESET' } : outcome;
}

function post(request: OutboundRequest, { signal, agents, find, now }: Call): Promise<Outcome> {
  const url = new URL(request.url);
  const { request: send } = url.protocol === 'https:' ? https : http;
  return new Promise((resolve) => {
    const outgoing = send(url, {
      method: 'POST',
      headers: { ...request.headers, 'content-length': Buffer.byteLength(request.body) },
      agent: agents[url.protocol],
      signal,
      ...(find && { lookup: find }),
    });
    outgoing.on('error', (error) => resolve(failureOf(error, { outgoing, request, signal })));
    outgoing.on('response', (response) => {
      const retryAfterMs = parseRetryAfter(response.headers['retry-after'], now);
      const done = (body: string) => resolve({ status: response.statusCode ?? 0, retryAfterMs, body });
      readBounded(response).then(done, () => done(''));
    });
    outgoing.end(request.body);
  });
}

/** The beginning of the body. The status stands, even when the body does not come. */
async function readBounded(response: http.IncomingMessage): Promise<string> {
  let body = '';
  for await (const part of response.setEncoding('utf8')) {
    body += part;
    if (body.length > MAX_BYTES) break;
  }
  return body.slice(0, MAX_BYTES);
}

function failureOf(
  error: Error,
  { outgoing, request, signal }: { outgoing: http.ClientRequest; request: OutboundRequest; signal: AbortSignal },
): Outcome {
  if (request.signal.aborted) return { failed: 'interrupted' };
  if (signal.aborted) return { failed: 'timed_out' };
  const code = systemErrorCode(error) ?? 'no_answer';
  return outgoing.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(code) ? { stale: true } : { failed: code };
}

class RefusedAddress extends Error {
  readonly code = 'ADDRESS_REFUSED';
}

/**
 * Asks the name servers directly: the system's resolver has few threads, and names that hang would keep the others
 * waiting. One address that is not public refuses them all.
 */
function guardedLookup(): LookupFunction {
  const resolver = new Resolver({ timeout: 2_000, tries: 2 });
  return (hostname, { all }, callback) => {
    const answers = Promise.allSettled([
      new Promise<string[]>((resolve, reject) =>
        resolver.resolve4(hostname, (error, found) => (error ? reject(error) : resolve(found))),
      ),
      new Promise<string[]>((resolve, reject) =>
        resolver.resolve6(hostname, (error, found) => (error ? reject(error) : resolve(found))),
      ),
    ]);
    void answers.then((settled) => {
      const addresses = settled.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
      const [first] = addresses;
      if (first === undefined) return lookupFailed(settled[0], callback);
      if (!addresses.every(isPublicAddress)) return callback(new RefusedAddress(), '', 0);
      const found = addresses.map((address) => ({ address, family: isIP(address) }));
      return all ? callback(null, found) : callback(null, first, isIP(first));
    });
  };
}

function lookupFailed(answer: PromiseSettledResult<unknown>, callback: Parameters<typeof lookup>[1]): void {
  const reason = answer.status === 'rejected' ? (answer.reason as NodeJS.ErrnoException) : new Error('no address');
  callback(reason, '', 0);
}
