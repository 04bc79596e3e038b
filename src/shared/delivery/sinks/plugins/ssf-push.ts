/** Security event tokens (RFC 8417) of CAEP and RISC events, pushed by RFC 8935, signed with the key in our JWKS. */
import { SignJWT } from 'jose';
import { z } from 'zod';
import { type SigningKey, signingKey } from '../../../keys/signing-keys.ts';
import { type DeliveryOutcome, defineSink, type Message, type SinkDeps } from '../contract.ts';
import { makeOutbound, type OutboundReply, outboundUrl } from '../outbound.ts';
import { issuerOf, SSF_TYPES, securityEventOf } from '../ssf-events.ts';

type Settings = { url: string; audience: string };

/** A rotated signing key is noticed after this long. */
const KEY_MS = 30_000;

/** Errors about the token itself (RFC 8935 §2.4): it will never be taken. Any other may be mended on either side. */
const REFUSED = ['invalid_request', 'invalid_audience'];

const errorBody = z.object({ err: z.string().max(100) });

export const plugin = defineSink<Settings>({
  name: 'ssf-push',
  about: 'pushes security event tokens (CAEP, RISC) to a Shared Signals receiver; its secret is a bearer token',
  secret: 'given',
  batchSize: 1,
  concurrency: 4,
  takes: SSF_TYPES,

  settings: (config) =>
    z.strictObject({
      url: outboundUrl(config.allowPrivateWebhooks),
      audience: z.string().min(1).max(500),
    }),

  create(deps) {
    const { config, clock } = deps;
    const post = makeOutbound({
      allowPrivate: config.allowPrivateWebhooks,
      timeoutMs: config.callTimeoutMs,
      clock,
    });
    const currentKey = keyCache(deps);
    return {
      async deliver([message], { settings, secrets }, signal): Promise<DeliveryOutcome> {
        const body = await sign(message!, { key: await currentKey(), settings, config, now: clock.now() });
        if (body === null) return { kind: 'refuse', reason: 'no_security_event' };
        const [token] = secrets;
        const headers = {
          'content-type': 'application/secevent+jwt',
          accept: 'application/json',
          'user-agent': 'Keyturn',
          ...(token && { authorization: `Bearer ${token.reveal()}` }),
        };
        return outcomeOf(await post({ url: settings.url, headers, body, signal }));
      },
    };
  },
});

type Signing = { key: SigningKey; settings: Settings; config: SinkDeps['config']; now: number };

function sign(message: Message, { key, settings, config, now }: Signing): Promise<string> | null {
  const claims = securityEventOf(message);
  if (claims === null) return null;
  return new SignJWT(claims)
    .setProtectedHeader({ alg: key.alg, typ: 'secevent+jwt', kid: key.kid })
    .setIssuer(issuerOf(config))
    .setAudience(settings.audience)
    .setIssuedAt(Math.floor(now / 1_000))
    .sign(key.key);
}

function outcomeOf(reply: OutboundReply): DeliveryOutcome {
  if ('failed' in reply) {
    return reply.failed === 'interrupted' ? { kind: 'interrupted' } : { kind: 'retry', reason: reply.failed };
  }
  const { status, retryAfterMs, body } = reply;
  if (status >= 200 && status < 300) return { kind: 'delivered' };
  if (status === 400 && REFUSED.includes(errorOf(body))) return { kind: 'refuse', reason: errorOf(body), status };
  return { kind: 'retry', reason: 'status', status, ...(retryAfterMs !== undefined && { retryAfterMs }) };
}

function errorOf(body: string): string {
  try {
    return errorBody.parse(JSON.parse(body)).err;
  } catch {
    return '';
  }
}

function keyCache(deps: SinkDeps): () => Promise<SigningKey> {
  let cached: { key: Promise<SigningKey>; until: number } | undefined;
  return () => {
    if (cached && cached.until > deps.clock.now()) return cached.key;
    const key = signingKey(deps, 'set');
    cached = { key, until: deps.clock.now() + KEY_MS };
    key.catch(() => {
      cached = undefined;
    });
    return key;
  };
}
