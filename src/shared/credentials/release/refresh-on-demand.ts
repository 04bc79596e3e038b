import { AppError } from '../../platform/errors.ts';
import { PRIORITY } from '../../queue/jobs.ts';
import type { Deps } from '../../runtime/deps.ts';
import type { Releasable } from '../../store/lifecycle/credentials-release.ts';
import type { ReadCredential } from './grouped-reads.ts';
import { assertReleasable, needsRefresh } from './state-refusals.ts';

const POLL_MS = 20;
const WAIT_MS = 10_000;

/** Resolves to the credential with a fresh token. Throws `refresh_pending` and what `assertReleasable` throws. */
export type Demand = (doc: Releasable, stopping: AbortSignal) => Promise<Releasable>;

/** Asks for a refresh and waits for it: many callers in one process, one hint and one wait. */
export function makeDemand(deps: Pick<Deps, 'clock' | 'hints' | 'log'>, read: ReadCredential): Demand {
  const underWay = new Map<string, Promise<Releasable>>();
  return (doc, stopping) => {
    const known = underWay.get(doc._id);
    if (known) return known;
    const wait = refresh(deps, read, doc, stopping).finally(() => underWay.delete(doc._id));
    underWay.set(doc._id, wait);
    return wait;
  };
}

async function refresh(
  deps: Pick<Deps, 'clock' | 'hints' | 'log'>,
  read: ReadCredential,
  before: Releasable,
  stopping: AbortSignal,
): Promise<Releasable> {
  const { clock, hints, log } = deps;
  // The provider failed a moment ago and has its pause: asking at once would only hammer it.
  if (before.lastError && !before.claimed.refresh && dueInMs(before, clock.now()) > 0) {
    throw pending(dueInMs(before, clock.now()));
  }
  await hints
    .add('refresh', [
      {
        payload: { credentialIds: [before._id], reason: 'demand' },
        priority: PRIORITY.onDemand,
        id: `cred-${before._id}-demand-${before.generation}`,
      },
    ])
    .catch((err) => log.warn({ err }, 'a refresh on demand was not taken; the sweep finds it'));
  const giveUpAt = clock.now() + WAIT_MS;
  while (clock.now() < giveUpAt && !stopping.aborted) {
    await clock.sleep(POLL_MS, stopping);
    const doc = await read({ id: before._id, tenantId: before.tenantId });
    assertReleasable(doc, clock.now());
    if (doc.generation > before.generation && !needsRefresh(doc, clock.now())) return doc;
    if (doc.lastError && doc.lastError.at.getTime() !== before.lastError?.at.getTime()) {
      throw pending(dueInMs(doc, clock.now()));
    }
  }
  throw pending(1_000);
}

function dueInMs(doc: Releasable, now: number): number {
  return (doc.due.refresh?.getTime() ?? 0) - now;
}

function pending(retryAfterMs: number): AppError {
  return new AppError('refresh_pending', { retryAfterMs: Math.min(60_000, Math.max(1_000, retryAfterMs)) });
}
