/**
 * Revokes at the provider (RFC 7009) and, where asked for, destroys the secret. Release stops first, then the provider is
 * told, then the state says so: a revocation that is interrupted leaves a credential that nobody is given.
 */

import { openEvents, settleEvents } from '../../events/settling.ts';
import { contextOf } from '../../keys/material.ts';
import { AppError, toAppError } from '../../platform/errors.ts';
import { aboutCredential, makeEntry } from '../../store/entry.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import type { EventDoc } from '../../store/lifecycle/events.ts';
import { defineJob, type WorkerDeps } from '../../work/job.ts';
import { hold } from '../../work/leases.ts';
import { persist } from '../../work/persist.ts';
import { allows, type Transition, transit } from '../lifecycle.ts';
import { revokeAtProvider, verdictOf } from './provider-revocation.ts';

export const createRevokeJob = defineJob('revoke', (deps) => ({
  async process(payload, signal) {
    const events = await openEvents(deps, payload.eventIds ?? []);
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
  const found = await deps.database
    .collection('credentials')
    .findOne({ _id: event.credentialId as string, tenantId: event.tenantId }, { projection: { _id: 1 } });
  return new AppError(found ? 'interrupted' : 'not_found', { retryAfterMs: 500 });
}

type Step = {
  doc: CredentialDoc;
  event: EventDoc;
  transition: Transition;
  detail?: Record<string, string>;
  /** Beyond state and due dates. */
  set?: Partial<CredentialDoc>;
  signal: AbortSignal;
};

/** Commits one transition with its entry and resolves to the credential after it. Throws `interrupted` when the lease is lost. */
async function step(
  deps: WorkerDeps,
  { doc, event, transition, detail = {}, set = {}, signal }: Step,
): Promise<CredentialDoc> {
  const { state, entry } = transit(transition, doc.state);
  const at = new Date(deps.clock.now());
  const reason = typeof event.data.reason === 'string' ? event.data.reason : null;
  // A rotation under way is wound up: a secret that it made good at the other side must not outlive this.
  const due = doc.rotation ? { rotate: at } : {};
  const fields = { ...set, state, due, claimed: {}, updatedAt: at, blocked: { reason: 'revocation', at } };
  const outcome = await persist(
    deps,
    {
      operations: [
        {
          in: 'credentials',
          update: { _id: doc._id, tenantId: doc.tenantId, fence: doc.fence, state: doc.state },
          set: { $set: fields },
        },
      ],
      entries: [
        makeEntry(deps, {
          ...aboutCredential(doc),
          type: entry,
          actor: { kind: 'principal', id: event.principalId, ...event.origin },
          eventId: event._id,
          reason,
          detail,
        }),
      ],
    },
    signal,
  );
  if (outcome !== 'committed') throw new AppError('interrupted', { retryAfterMs: 500 });
  return { ...doc, ...fields };
}

/** The record of the end comes first: what the store still holds after a crash is sealed, unnamed, and deleted on the retry. */
async function destroy(deps: WorkerDeps, doc: CredentialDoc, event: EventDoc, signal: AbortSignal): Promise<void> {
  const { tenantId, _id: objectId } = doc;
  if (doc.secret) await deps.secrets.delete([{ context: contextOf(doc, doc.generation), stored: doc.secret }]);
  await deps.secrets.purge([{ tenantId, objectId }]);
  const set = { secret: null, fingerprints: [], hasRefreshToken: false };
  await step(deps, { doc, event, transition: 'destroy', set, signal });
}
