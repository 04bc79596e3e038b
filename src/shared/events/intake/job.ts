/**
 * The intake queue: CloudEvents of those who speak Redis but no HTTP. A job names a principal and is signed with its
 * signing secret; its events pass the same checks as the API's, and are in MongoDB before the job completes (promise 2).
 * Secrets travel encrypted to Keyturn's published key, or not at all (promise 1).
 */

import { makeRefusalRecord } from '../../audit/refusals.ts';
import { openSigningSecret } from '../../keys/signing-secret.ts';
import { AppError } from '../../platform/errors.ts';
import { checkWebhook } from '../../platform/standard-webhooks.ts';
import { PAYLOADS, type Payload } from '../../queue/jobs.ts';
import type { PrincipalDoc } from '../../store/access/principals.ts';
import { SYSTEM_TENANT_ID } from '../../store/access/tenants.ts';
import { defineJob, type WorkerDeps } from '../../work/job.ts';
import { acceptFromOutside } from '../accept.ts';
import { viewReceipt } from '../view.ts';
import { openData, parseEvents } from './open-event.ts';

/** A job may have waited for workers. Sent again it is the same event, so its age does no harm. */
const TOLERANCE_MS = 24 * 3_600_000;

const NOWHERE = { ip: null, userAgent: null };

export const createIntakeJob = defineJob('intake', (deps) => {
  const record = makeRefusalRecord(deps, 'intake.refused');
  return {
    external: { refused: (data, error) => refused(deps, record, data, error) },

    async process(payload) {
      const { events, single } = parseEvents(payload.event);
      const principal = await senderOf(deps, payload);
      const opened = await Promise.all(events.map((event) => openData(deps, principal, event)));
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

/** The principal that signed it. The same for an absent, revoked and expired one, and for one that has no signing secret. */
async function senderOf(deps: WorkerDeps, { principalId, event, headers }: Payload<'signed'>): Promise<PrincipalDoc> {
  const principal = await findPrincipal(deps, principalId);
  const now = deps.clock.now();
  const isOver = principal?.expiresAt != null && principal.expiresAt.getTime() <= now;
  const secret = principal && !principal.revokedAt && !isOver ? await openSigningSecret(deps, principal) : null;
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

async function findPrincipal({ database }: WorkerDeps, id: string): Promise<PrincipalDoc | null> {
  // The id is what names the tenant, so this one read cannot filter on it.
  return await database.collection('principals').findOne({ _id: id });
}

type Record = ReturnType<typeof makeRefusalRecord>;

/** On the log of the tenant whose principal the job names; on Keyturn's own when it names none. */
async function refused(deps: WorkerDeps, record: Record, data: unknown, { code }: AppError): Promise<void> {
  const parsed = PAYLOADS.signed.pick({ principalId: true }).loose().safeParse(data);
  const principal = parsed.success ? await findPrincipal(deps, parsed.data.principalId).catch(() => null) : null;
  const tenantId = principal?.tenantId ?? SYSTEM_TENANT_ID;
  await record({ tenantId, actor: ACTOR, reason: code, detail: { principalId: principal?._id ?? null } });
}
