/**
 * The release of a token. The credential is read fresh each time, in grouped reads: a quarantine in any process stops
 * the next release. The entry is durable before the token leaves (promise 6).
 */

import { type Action, requirePermission } from '../../access/permissions.ts';
import { openMaterial } from '../../keys/material.ts';
import { makeBatcher } from '../../platform/concurrency/batcher.ts';
import { AppError, toAppError } from '../../platform/errors.ts';
import { isoOrNull } from '../../platform/time.ts';
import type { Deps } from '../../runtime/deps.ts';
import type { Metrics } from '../../runtime/metrics.ts';
import type { PrincipalDoc } from '../../store/access/principals.ts';
import { addToInbox, type Entry } from '../../store/audit/inbox.ts';
import { aboutCredential, makeEntry } from '../../store/entry.ts';
import { type Releasable, touchReleased } from '../../store/lifecycle/credentials-release.ts';
import type { TokenRelease } from '../view.ts';
import { type CredentialRef, groupOf, makeCredentialReader } from './grouped-reads.ts';
import { makeDemand } from './refresh-on-demand.ts';
import { assertReleasable, needsRefresh } from './state-refusals.ts';

export type ReleaseDeps = Pick<Deps, 'clock' | 'random' | 'log' | 'database' | 'sealer' | 'secrets' | 'hints'>;

export type Releaser = {
  /**
   * Throws `not_found`, `permission_denied`, `credential_pending`, `credential_blocked`, `reauthorization_required`,
   * `refresh_pending`, `secret_unreadable`, `key_unavailable`, `store_unavailable`.
   */
  release(caller: ReleaseCaller, id: string): Promise<TokenRelease>;
  /**
   * The same for a caller who holds a secret already: null while that is still the one to use, once state and expiry were
   * looked at. Nothing leaves then, so nothing but a refusal is on the record.
   */
  releaseNewer(caller: ReleaseCaller, id: string, holds: Holds): Promise<TokenRelease | null>;
  /** Resolves when what was begun is written. */
  idle(): Promise<void>;
};

/** Whether the caller holds the secret of this generation. */
export type Holds = (generation: number) => boolean;

export type ReleaseCaller = { principal: PrincipalDoc; actor: Entry['actor']; stopping: AbortSignal };

/** The action that a caller must be permitted on the credential's service. */
export const RELEASE_ACTION = 'release' satisfies Action;

/** A release time is worth a write when the last one that we know of is this old. */
const TOUCH_EVERY_MS = 60_000;

/** Looks at a credential that changes while it is released. */
const MAX_ROUNDS = 4;

/** These refuse a caller or a state; any other error is a failure. */
const DENIALS = ['permission_denied', 'credential_blocked', 'reauthorization_required'];

export function makeReleaser(deps: ReleaseDeps, metrics: Pick<Metrics, 'releases'>): Releaser {
  const read = makeCredentialReader(deps);
  const demand = makeDemand(deps, read);
  const { record, touch, idle } = makeRecord(deps);

  /** Opens a fresh secret and records the access; null when it was replaced or ended meanwhile. */
  const handOver = async (doc: Releasable, actor: Entry['actor']): Promise<TokenRelease | null> => {
    const material = await openMaterial(deps, doc).catch(async (error: unknown) => {
      if (await wasReplaced(doc, error)) return null;
      throw error;
    });
    if (!material) return null;
    await record(doc, actor);
    // Providers count in whole seconds: a token may end up to one second before the time that was announced.
    const now = deps.clock.now();
    if (needsRefresh(doc, now) || (doc.expiresAt !== null && doc.expiresAt.getTime() <= now)) return null;
    touch(doc);
    return viewRelease(doc, material.accessToken.reveal());
  };

  /** A store beside MongoDB drops a value once another took its place. A release that read the old name looks again. */
  const wasReplaced = async (doc: Releasable, error: unknown) => {
    if (toAppError(error).code !== 'secret_unreadable' || doc.secret?.ref === undefined) return false;
    const now = await read({ id: doc._id, tenantId: doc.tenantId });
    return now.secret?.ref !== doc.secret.ref;
  };

  const attempt = async (first: Releasable, caller: ReleaseCaller, holds: Holds): Promise<TokenRelease | null> => {
    let doc = first;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      assertReleasable(doc, deps.clock.now());
      if (needsRefresh(doc, deps.clock.now())) doc = await demand(doc, caller.stopping);
      if (holds(doc.generation)) return null;
      const release = await handOver(doc, caller.actor);
      if (release) return release;
      doc = await read({ id: doc._id, tenantId: doc.tenantId });
    }
    throw new AppError('refresh_pending', { retryAfterMs: 1_000 });
  };

  const releaseNewer: Releaser['releaseNewer'] = async (caller, id, holds) => {
    const doc = await read({ id, tenantId: caller.principal.tenantId });
    try {
      requirePermission(caller.principal, doc.service, RELEASE_ACTION);
      const released = await attempt(doc, caller, holds);
      metrics.releases.inc({ service: doc.service, outcome: released ? 'released' : 'unchanged' });
      return released;
    } catch (thrown) {
      const error = toAppError(thrown);
      metrics.releases.inc({ service: doc.service, outcome: error.code });
      if (error.code !== 'store_unavailable') await record(doc, caller.actor, error);
      throw error;
    }
  };

  // A caller that holds nothing is never told that nothing has changed.
  const release: Releaser['release'] = async (caller, id) =>
    (await releaseNewer(caller, id, () => false)) as TokenRelease;

  return { release, releaseNewer, idle };
}

/** Writes about releases: the entry, durable when `record` resolves, and the time of the last one, when it suits. */
function makeRecord(deps: ReleaseDeps) {
  const entries = makeBatcher<Entry, null>((group) => recordAll(deps, group), { maxSize: 1_000, maxConcurrent: 2 });
  const times = makeBatcher<CredentialRef, null>((group) => touchAll(deps, group), {
    maxSize: 1_000,
    maxConcurrent: 1,
  });
  return {
    record: (doc: Releasable, actor: Entry['actor'], error?: AppError) =>
      entries.run(
        makeEntry(deps, {
          ...aboutCredential(doc),
          type: 'credential.accessed',
          actor,
          outcome: error === undefined ? 'success' : DENIALS.includes(error.code) ? 'denied' : 'failure',
          reason: error?.code ?? null,
          detail: { generation: doc.generation },
        }),
      ),
    touch: (doc: Releasable) => {
      if (deps.clock.now() - (doc.lastReleasedAt?.getTime() ?? 0) < TOUCH_EVERY_MS) return;
      times.run({ id: doc._id, tenantId: doc.tenantId }).catch((err) => deps.log.debug({ err }, 'lastReleasedAt'));
    },
    idle: async () => void (await Promise.all([entries.idle(), times.idle()])),
  };
}

function viewRelease(doc: Releasable, accessToken: string): TokenRelease {
  return {
    accessToken,
    tokenType: doc.tokenType,
    expiresAt: isoOrNull(doc.expiresAt),
    scopes: doc.scopes,
    generation: doc.generation,
    service: doc.service,
    subject: doc.subject,
    metadata: doc.metadata,
  };
}

async function recordAll({ database }: ReleaseDeps, entries: Entry[]): Promise<null[]> {
  await addToInbox(database, entries);
  return entries.map(() => null);
}

/** Best effort: the log is the truth about accesses, this is a convenience of the list. */
async function touchAll({ database, clock }: ReleaseDeps, refs: CredentialRef[]): Promise<null[]> {
  await touchReleased(database, groupOf(refs), new Date(clock.now()));
  return refs.map(() => null);
}
