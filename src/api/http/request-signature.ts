/**
 * Signed requests, for keys that must sign: the Standard Webhooks scheme over `<METHOD> <path and query>\n<body>`. Method and
 * path are signed too, because without them one signed body, often an empty one, would be good for any path.
 */
import { Readable } from 'node:stream';
import type { FastifyRequest, preParsingHookHandler, RequestPayload } from 'fastify';
import { openSigningSecret } from '../../shared/access/signing-secret.ts';
import { makeRefusalRecord } from '../../shared/audit/refusals.ts';
import { AppError } from '../../shared/platform/errors.ts';
import type { Secret } from '../../shared/platform/secret.ts';
import { checkWebhook, TOLERANCE_MS } from '../../shared/platform/standard-webhooks.ts';
import type { Deps } from '../../shared/runtime/deps.ts';
import type { PrincipalDoc } from '../../shared/store/access/principals.ts';
import { takeRequestId } from '../../shared/store/access/request-ids.ts';
import { actorOf } from './context.ts';

type SignatureDeps = Pick<Deps, 'clock' | 'random' | 'sealer' | 'database' | 'commit' | 'log'>;

const REASONS = {
  headers_missing: 'This key must sign: send webhook-id, webhook-timestamp and webhook-signature.',
  signature_mismatch: 'Sign `<METHOD> <path and query>\\n<body>` as the payload of the Standard Webhooks scheme.',
  time_out_of_range: 'webhook-timestamp is more than 5 minutes away from our clock.',
  replayed: 'A request with this webhook-id was taken already; sign a new one.',
};

/** A hook that lets a request of such a key pass only when it is signed, and only once. Refusals are put on the record. */
export function makeSignatureCheck(deps: SignatureDeps): preParsingHookHandler {
  const record = makeRefusalRecord(deps, 'request.refused');

  const check = async (
    request: FastifyRequest,
    principal: PrincipalDoc,
    payload: RequestPayload,
  ): Promise<Readable> => {
    const body = await readBody(payload, request.routeOptions.bodyLimit);
    const secret = (await openSigningSecret(deps, principal)) as Secret;
    const reason = await reasonAgainst(deps, principal, secret, request, body);
    if (reason === null) return Readable.from([body], { objectMode: false });
    const detail = { method: request.method, path: request.routeOptions.url ?? null };
    await record({ tenantId: principal.tenantId, actor: actorOf(request), reason, detail });
    throw new AppError('signature_invalid', { detail: REASONS[reason] });
  };

  return (request, _reply, payload, done) => {
    const { principal } = request;
    if (!principal?.signing) return done(null, payload);
    check(request, principal, payload).then((body) => done(null, body), done);
  };
}

async function reasonAgainst(
  deps: SignatureDeps,
  principal: PrincipalDoc,
  secret: Secret,
  request: FastifyRequest,
  body: Buffer,
): Promise<keyof typeof REASONS | null> {
  const headers = request.headers as Record<string, string | undefined>;
  const signed = Buffer.concat([Buffer.from(`${request.method} ${request.raw.url}\n`), body]);
  const verdict = checkWebhook([secret], headers, signed, deps.clock.now());
  if (verdict !== 'valid') return verdict;
  return (await isFirst(deps, principal, headers['webhook-id'] as string)) ? null : 'replayed';
}

/** Whether no process has taken a request with this id. Throws `store_unavailable`. */
function isFirst({ database, clock }: SignatureDeps, principal: PrincipalDoc, webhookId: string): Promise<boolean> {
  const { _id: principalId, tenantId } = principal;
  // A time may be as far ahead of our clock as behind it, so the id is kept for both.
  const expiresAt = new Date(clock.now() + 2 * TOLERANCE_MS);
  return takeRequestId(database, { tenantId, principalId, webhookId: webhookId.slice(0, 255), expiresAt });
}

/** Reads the body to its end also when it is too large: a client that is cut off while it sends never reads the reply. */
async function readBody(payload: RequestPayload, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of payload as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length <= limit) chunks.push(chunk);
  }
  if (length > limit) throw new AppError('payload_too_large', { detail: 'Send less at once.' });
  return Buffer.concat(chunks);
}
