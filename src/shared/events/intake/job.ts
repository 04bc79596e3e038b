/**
 * The intake queue: CloudEvents of producers that speak Redis and no HTTP. A job names a principal and is signed with that
 * principal's signing secret. Its events pass the same checks as the API's, and are in MongoDB before the job completes
 * (promise 2). Their secrets are encrypted to Keyturn's published key, or the job is refused (promise 1).
 */

import { isOver } from '../../access/api-keys.ts';
import { openSigningSecret } from '../../access/signing-secret.ts';
import { makeRefusalRecord } from '../../audit/refusals.ts';
import { AppError } from '../../platform/errors.ts';
import { checkWebhook } from '../../platform/standard-webhooks.ts';
import { PAYLOADS, type Payload } from '../../queue/jobs.ts';
import { findPrincipalById, type PrincipalDoc } from '../../store/access/principals.ts';
import { SYSTEM_TENANT_ID } from '../../store/access/tenants.ts';
import { defineJob, type WorkerDeps } from '../../work/job.ts';
import { acceptFromOutside } from '../accept.ts';
import { viewReceipt } from '../schema.ts';
import { decryptData, parseEvents } from './decode.ts';

/** A job may have waited a long time for workers. An old one does no harm: sent again it is a duplicate of the same event. */
const TOLERANCE_MS = 24 * 3_600_000;

const NOWHERE = { ip: null, userAgent: null };

/** The job of the `intake` queue. It answers as the API does: with receipts, or with the problem that it throws. */
export const createIntakeJob = defineJob('intake', (deps) => {
  const record = makeRefusalRecord(deps, 'intake.refused');
  return {
    external: { refused: (data, error) => refused(deps, record, data, error) },

    async process(payload) {
      const { events, single } = parseEvents(payload.event);
      const principal = await senderOf(deps, payload);
      const opened = await Promise.all(events.map((event) => decryptData(deps, principal, event)));
      const receipts = await acceptFromOutside(deps, { principal, origin: NOWHERE, traceparent: null }, opened);
      const rejected = receipts.filter((receipt) => receipt.status === 'rejected');
      const [first] = rejected;
      if (single && first) throw new AppError(first.problem.code, { detail: first.problem.detail });
      if (first) {
        const detail = { principalId: principal._id, rejected: rejected.length };
        await record({ tenantId: principal.tenantId, actor: ACTOR, reason: first.problem.code, detail });
      }
      return { results: receipts.map(viewReceipt) };
    },
  };
});

const ACTOR = { kind: 'system', id: 'intake' } as const;

/**
 * The principal that signed the job. Throws `unauthenticated`, the same for an absent, revoked and expired one and for one
 * without a signing secret, and `signature_invalid`.
 */
async function senderOf(deps: WorkerDeps, { principalId, event, headers }: Payload<'signed'>): Promise<PrincipalDoc> {
  const principal = await findPrincipalById(deps.database, principalId);
  const now = deps.clock.now();
  const isGood = principal !== null && !principal.revokedAt && !isOver(principal, now);
  const secret = isGood ? await openSigningSecret(deps, principal) : null;
  if (!principal || !secret) {
    throw new AppError('unauthenticated', { detail: 'data.principalId: there is no such principal that may sign.' });
  }
  const verdict = checkWebhook([secret], headers, Buffer.from(event), now, TOLERANCE_MS);
  if (verdict === 'valid') return principal;
  const isOld = verdict === 'time_out_of_range';
  throw new AppError('signature_invalid', {
    detail: isOld
      ? 'data.headers: webhook-timestamp is more than a day away from our clock.'
      : 'data.headers: sign the text of data.event by the Standard Webhooks scheme.',
  });
}

type RefusalRecord = ReturnType<typeof makeRefusalRecord>;

/** Puts a refused job on the log of the tenant whose principal it names; on Keyturn's own when it names none. */
async function refused(deps: WorkerDeps, record: RefusalRecord, data: unknown, { code }: AppError): Promise<void> {
  const parsed = PAYLOADS.signed.pick({ principalId: true }).loose().safeParse(data);
  const principal = parsed.success
    ? await findPrincipalById(deps.database, parsed.data.principalId).catch(() => null)
    : null;
  const tenantId = principal?.tenantId ?? SYSTEM_TENANT_ID;
  await record({ tenantId, actor: ACTOR, reason: code, detail: { principalId: principal?._id ?? null } });
}
