/**
 * Revokes at the provider (RFC 7009) and, where asked for, destroys the secret. Release stops first, then the provider is
 * told, then the state says so: a revocation that is interrupted leaves a credential that nobody is given.
 */

import { settleEvents } from '../../events/settling.ts';
import { contextOf } from '../../keys/material.ts';
import { AppError, toAppError } from '../../platform/errors.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import { findCredentialOwner } from '../../store/lifecycle/credentials-lookup.ts';
import { type EventDoc, findOpenEvents } from '../../store/lifecycle/events.ts';
import { defineJob, type WorkerDeps } from '../../work/job.ts';
import { hold } from '../../work/leases.ts';
import { persist } from '../../work/outages.ts';
import { credentialChange, type TransitionRequest } from '../change.ts';
import { allows, transit } from '../lifecycle.ts';
import { revokeAtProvider, verdictOf } from './at-provider.ts';

export const createRevokeJob = defineJob('revoke', (deps) => ({
  async process(payload, signal) {
    const events = await findOpenEvents(deps.database, payload.eventIds ?? []);
    await Promise.all(
      events.map(async (event) => {
        const error = signal.aborted
          ? new AppError('interrupted')
          : await revokeFor(deps, event, signal).catch(toAppError);
        await settleEvents(deps, [{ event, error: error ?? null }]);
      }),
    );
  },
}));

/** Undefined when all that the event asks for is done. Each step that is done already is passed over. */
async function revokeFor(deps: WorkerDeps, event: EventDoc, signal: AbortSignal): Promise<undefined> {
  const ids = [event.credentialId as string];
  const held = await hold(deps, 'credentials', { ids, purpose: 'revoke', where: { tenantId: event.tenantId } });
  try {
    let doc = held.docs[0];
    if (!doc) throw await absent(deps, event);
    if (allows('quarantine', doc.state)) doc = await step(deps, { doc, event, transition: 'quarantine', signal });
    if (doc.state !== 'revoked' && doc.state !== 'destroyed') {
      const told = await revokeAtProvider(deps, doc, signal);
      const detail = { provider: told, ...(told === 'revoked' && { verdict: await verdictOf(deps, doc, signal) }) };
      doc = await step(deps, { doc, event, transition: 'revoke', detail, signal });
    }
    if (event.data.destroy === true && doc.state !== 'destroyed') await destroy(deps, doc, event, signal);
  } finally {
    await held.end();
  }
}

async function absent(deps: WorkerDeps, event: EventDoc): Promise<AppError> {
  const { tenantId, credentialId: id } = event as EventDoc & { credentialId: string };
  const found = await findCredentialOwner(deps.database, { tenantId, id });
  return new AppError(found ? 'interrupted' : 'not_found', { retryAfterMs: 500 });
}

type Step = Pick<TransitionRequest, 'transition' | 'detail' | 'set'> & {
  doc: CredentialDoc;
  event: EventDoc;
  signal: AbortSignal;
};

/**
 * Commits one transition with its entry and resolves to the credential after it. A rotation under way goes on at once, to be
 * wound up: a secret that it made good at the other side must not outlive this. Throws `interrupted` when the lease is lost.
 */
async function step(deps: WorkerDeps, { doc, event, signal, ...request }: Step): Promise<CredentialDoc> {
  const change = credentialChange(deps, doc, {
    ...request,
    block: 'revocation',
    ...(doc.rotation && { due: { rotate: new Date(deps.clock.now()) } }),
    expect: { fence: doc.fence },
    actor: { kind: 'principal', id: event.principalId, ...event.origin },
    eventId: event._id,
    reason: typeof event.data.reason === 'string' ? event.data.reason : null,
  });
  if ((await persist(deps, change, signal)) !== 'committed') throw new AppError('interrupted', { retryAfterMs: 500 });
  return { ...doc, ...request.set, state: transit(request.transition, doc.state).state };
}

/** The secret is deleted first: after a crash the retry deletes it again, which is harmless, and then records it. */
async function destroy(deps: WorkerDeps, doc: CredentialDoc, event: EventDoc, signal: AbortSignal): Promise<void> {
  const { tenantId, _id: objectId } = doc;
  if (doc.secret) await deps.secrets.delete([{ context: contextOf(doc, doc.generation), stored: doc.secret }]);
  await deps.secrets.purge([{ tenantId, objectId }]);
  const set = { secret: null, fingerprints: [], hasRefreshToken: false };
  await step(deps, { doc, event, transition: 'destroy', set, signal });
}
