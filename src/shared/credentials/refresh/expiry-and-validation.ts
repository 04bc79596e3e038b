/** What comes due on credentials that no refresh keeps alive: their end, and the question whether they still live. */

import { openMaterial } from '../../keys/material.ts';
import { type AppError, toAppError } from '../../platform/errors.ts';
import type { Provider, Verdict } from '../../providers/contract.ts';
import { aboutCredential, makeEntry } from '../../store/entry.ts';
import { RELEASED } from '../../store/lease.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { persist } from '../../work/persist.ts';
import { type Transition, transit } from '../lifecycle.ts';
import { jittered } from '../schedule.ts';

/** A provider that does not answer is asked again after this long, unless it says when. Milliseconds. */
const ASK_AGAIN_MS = 60_000;

/** Whether the sweep has handed a credential over for anything but a refresh. */
export function isToTend({ claimed }: CredentialDoc): boolean {
  return claimed.expire !== undefined || claimed.validate !== undefined;
}

/** Tends one credential under its lease. Never throws: what could not be recorded is due again by itself. */
export async function tend(deps: WorkerDeps, doc: CredentialDoc, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  try {
    if (isOver(deps, doc)) await end(deps, doc, { transition: 'expire', reason: null }, signal);
    else if (doc.claimed.expire) await comeBack(deps, doc, { expire: doc.expiresAt });
    else await validate(deps, doc, signal);
  } catch (err) {
    deps.log.warn({ err, credentialId: doc._id }, 'a credential could not be tended');
  }
}

function isOver({ clock }: Pick<WorkerDeps, 'clock'>, { claimed, expiresAt }: CredentialDoc): boolean {
  return claimed.expire !== undefined && expiresAt !== null && expiresAt.getTime() <= clock.now();
}

async function validate(deps: WorkerDeps, doc: CredentialDoc, signal: AbortSignal): Promise<void> {
  const provider = deps.providers.get(doc.service);
  const verdict = await ask(deps, provider, doc, signal).catch(toAppError);
  if (verdict === 'inactive') {
    // A person's grant is renewed by consent; a key that its service has ended, by importing another.
    const transition = doc.kind === 'oauth2' ? 'require_reauthorization' : 'expire';
    return end(deps, doc, { transition, reason: 'found_inactive' }, signal);
  }
  const delayMs = typeof verdict === 'string' ? provider.probeEveryMs : pauseAfter(verdict);
  const at = jittered({ now: deps.clock.now(), fraction: deps.random.fraction() }, delayMs);
  await comeBack(deps, doc, { validate: at });
}

/** The provider's word; `unknown` where it has no means to say. Throws what keeps it from answering. */
async function ask(deps: WorkerDeps, provider: Provider, doc: CredentialDoc, signal: AbortSignal): Promise<Verdict> {
  if (!provider.probe) return 'unknown';
  return provider.probe(await openMaterial(deps, doc), { signal });
}

function pauseAfter(error: AppError): number {
  return Math.max(error.retryAfterMs ?? 0, ASK_AGAIN_MS);
}

/** Nothing has changed but the date. Null: never again. */
async function comeBack(
  deps: Pick<WorkerDeps, 'database'>,
  doc: CredentialDoc,
  due: { expire?: Date | null; validate?: Date },
): Promise<void> {
  const [what, at] = Object.entries(due)[0]!;
  const claim = `claimed.${what}`;
  const update = at
    ? { $set: { [`due.${what}`]: at }, $unset: { [claim]: '' as const } }
    : { $unset: { [`due.${what}`]: '' as const, [claim]: '' as const } };
  const { _id, tenantId, fence } = doc;
  await deps.database.collection('credentials').updateOne({ _id, tenantId, fence }, update);
}

type Ending = { transition: Transition; reason: string | null };

/** The credential is of no more use: nothing of it is due any more. */
async function end(
  deps: WorkerDeps,
  doc: CredentialDoc,
  { transition, reason }: Ending,
  signal: AbortSignal,
): Promise<void> {
  const { state, entry } = transit(transition, doc.state);
  const { _id, tenantId, fence, generation } = doc;
  const fields = { state, due: {}, claimed: {}, updatedAt: new Date(deps.clock.now()), ...RELEASED };
  await persist(
    deps,
    {
      operations: [
        { in: 'credentials', update: { _id, tenantId, fence, generation, state: doc.state }, set: { $set: fields } },
      ],
      entries: [
        makeEntry(deps, {
          ...aboutCredential(doc),
          type: entry,
          actor: { kind: 'worker', id: deps.workerId },
          reason,
          detail: { expiresAt: doc.expiresAt?.toISOString() ?? null },
        }),
      ],
    },
    signal,
  );
}

/**
 * Credentials at rest (quarantined, given up, revoked) that are due by a date which was written before they came to rest.
 * It goes; `restore` and a new consent set dates of their own.
 */
export async function clearDates(deps: Pick<WorkerDeps, 'database'>, ids: string[]): Promise<void> {
  if (ids.length === 0) return;
  const dates = ['refresh', 'expire', 'validate'].flatMap((what) => [`due.${what}`, `claimed.${what}`]);
  await deps.database
    .collection('credentials')
    .updateMany(
      { _id: { $in: ids }, state: { $ne: 'active' } },
      { $unset: Object.fromEntries(dates.map((date) => [date, '' as const])) },
    );
}
