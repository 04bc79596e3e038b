/** Credentials that no refresh keeps alive come due at their end, and for the question whether the provider still takes them. */

import { openMaterial } from '../../keys/material.ts';
import { type AppError, toAppError } from '../../platform/errors.ts';
import type { Provider, Verdict } from '../../providers/contract.ts';
import type { CredentialDoc } from '../../store/lifecycle/credentials.ts';
import { rescheduleHeldCredential } from '../../store/lifecycle/credentials-due.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { asRead } from '../../work/leases.ts';
import { persist } from '../../work/outages.ts';
import { credentialChange } from '../change.ts';
import { jittered } from '../schedule.ts';

/** A provider that does not answer is asked again after this long, unless it says when. Milliseconds. */
const ASK_AGAIN_MS = 60_000;

/** Whether the sweep has handed a credential over for its end or for the question whether it still lives. */
export function isDueToEndOrValidate({ claimed }: CredentialDoc): boolean {
  return claimed.expire !== undefined || claimed.validate !== undefined;
}

/** Ends or validates one credential under its lease. Never throws: what could not be recorded is due again by itself. */
export async function endOrValidate(deps: WorkerDeps, doc: CredentialDoc, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  try {
    if (isOver(deps, doc)) await end(deps, doc, { transition: 'expire', reason: null }, signal);
    else if (doc.claimed.expire) await rescheduleHeldCredential(deps.database, doc, { expire: doc.expiresAt });
    else await validate(deps, doc, signal);
  } catch (err) {
    deps.log.warn({ err, credentialId: doc._id }, 'a credential was neither ended nor validated');
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
  await rescheduleHeldCredential(deps.database, doc, { validate: at });
}

/** The provider's word; `unknown` where it has no means to say. Throws the reason when it does not answer. */
async function ask(deps: WorkerDeps, provider: Provider, doc: CredentialDoc, signal: AbortSignal): Promise<Verdict> {
  if (!provider.probe) return 'unknown';
  return provider.probe(await openMaterial(deps, doc), { signal });
}

function pauseAfter(error: AppError): number {
  return Math.max(error.retryAfterMs ?? 0, ASK_AGAIN_MS);
}

type Ending = { transition: 'expire' | 'require_reauthorization'; reason: string | null };

/** The secret is of no more use. */
async function end(
  deps: WorkerDeps,
  doc: CredentialDoc,
  { transition, reason }: Ending,
  signal: AbortSignal,
): Promise<void> {
  const change = credentialChange(deps, doc, {
    transition,
    reason,
    actor: { kind: 'worker', id: deps.workerId },
    detail: { expiresAt: doc.expiresAt?.toISOString() ?? null },
    expect: asRead(doc),
    set: { lease: null },
  });
  await persist(deps, change, signal);
}
