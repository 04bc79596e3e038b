/**
 * Turns what MongoDB says is due into jobs. Its cost grows with what is due: every due date has a partial index. A claim
 * moves the date ahead, so that any number of sweepers share the work; when a claimed job gets lost with Redis, the
 * date comes round again. A missed tick is harmless.
 */
import type { Document } from 'mongodb';
import { eventRow } from '../shared/events/catalogue.ts';
import { chunk, JOB_SIZE } from '../shared/queue/hints.ts';
import { type JobName, type JobPayload, PRIORITY } from '../shared/queue/jobs.ts';
import type { CollectionName } from '../shared/store/database.ts';
import type { WorkerDeps } from '../shared/work/job.ts';

type SweepDeps = Pick<WorkerDeps, 'database' | 'clock' | 'random' | 'hints' | 'log' | 'config'>;

/** One kind of work that comes due: a date in a collection, and the jobs that it turns into. */
type DueRow = {
  in: CollectionName;
  /** The due date's field; a partial index is on it. */
  field: string;
  /** Keeps the date that was due until a worker has settled it. */
  claim?: string;
  /** Tells what was handed over from what is due by itself within the time of a claim. Absent: it waits for that time. */
  isClaimed?: Document;
  /** What `jobs` needs of a document besides its id. */
  read?: string[];
  jobs(docs: DueDoc[]): { queue: JobName; payload: JobPayload<JobName> }[];
};

type DueDoc = { _id: string; [field: string]: unknown };

const reason = 'due';

/** Credentials of one service to a job: a slow provider holds up its own jobs only. */
const byService = (queue: JobName) => (docs: DueDoc[]) =>
  groups(docs, (doc) => doc.service as string).flatMap(([service, ids]) =>
    chunk(ids, JOB_SIZE).map((credentialIds) => ({ queue, payload: { credentialIds, service, reason } })),
  );

/** Everything that is ever due. A new kind of work is a row here and an index in `database.ts`. */
const DUE: DueRow[] = [
  ...(['refresh', 'expire', 'validate'] as const).map((what) => ({
    in: 'credentials' as const,
    field: `due.${what}`,
    claim: `claimed.${what}`,
    isClaimed: { [`claimed.${what}`]: { $exists: true } },
    read: ['service'],
    jobs: byService('refresh'),
  })),
  {
    in: 'credentials',
    field: 'due.rotate',
    claim: 'claimed.rotate',
    isClaimed: { 'claimed.rotate': { $exists: true } },
    read: ['service'],
    jobs: byService('rotate'),
  },
  {
    // The relay: events whose hint was lost, and those that are to be tried again.
    in: 'events',
    field: 'dueAt',
    isClaimed: { status: 'accepted' },
    read: ['type'],
    jobs: (docs) =>
      groups(docs, (doc) => eventRow(doc.type as string)?.queue).flatMap(([queue, ids]) =>
        queue ? chunk(ids, JOB_SIZE).map((eventIds) => ({ queue, payload: { eventIds, reason } })) : [],
      ),
  },
  {
    // Playbooks that wait or were interrupted.
    in: 'incidents',
    field: 'dueAt',
    jobs: (docs) => docs.map(({ _id }) => ({ queue: 'respond', payload: { ids: [_id], reason } })),
  },
  {
    // Tenants whose log has entries that the rules have not seen.
    in: 'audit_heads',
    field: 'detectAt',
    jobs: (docs) => docs.map(({ _id }) => ({ queue: 'detect', payload: { tenantIds: [_id], reason } })),
  },
  {
    // Subscribers to be told of new entries, checkpoints to be signed. The id of a head is its tenant's.
    in: 'audit_heads',
    field: 'dueAt',
    jobs: (docs) => docs.map(({ _id }) => ({ queue: 'audit', payload: { tenantId: _id, reason } })),
  },
  {
    // Rotations of keys that go on.
    in: 'key_rotations',
    field: 'dueAt',
    jobs: (docs) => docs.map(({ _id }) => ({ queue: 'reseal', payload: { ids: [_id], reason } })),
  },
  {
    // A job for each: a slow consumer holds up its own only.
    in: 'subscriptions',
    field: 'dueAt',
    jobs: (docs) => docs.map(({ _id }) => ({ queue: 'deliver', payload: { ids: [_id], reason } })),
  },
];

const CLAIM_SIZE = 1_000;
/** A claim is good for this long; then its work is due again. Milliseconds. */
const CLAIM_MS = 30_000;
/** So many jobs may wait in a queue before the sweep stops claiming for it: a backlog in MongoDB costs nothing. */
const MAX_WAITING = 400;

/** One look at everything that may be due. Resolves to the number of objects handed to workers. */
export async function sweep(deps: SweepDeps): Promise<number> {
  // Without Redis a claim would only delay the work.
  if (!(await deps.hints.remembers())) for (const row of DUE) await giveUpClaims(deps, row);
  let total = await sweepInbox(deps);
  for (const row of DUE) total += await sweepRow(deps, row);
  return total;
}

async function sweepRow(deps: SweepDeps, row: DueRow): Promise<number> {
  for (let total = 0; ; ) {
    const { docs, isLast } = await claimDue(deps, row);
    const jobs = Map.groupBy(row.jobs(docs), ({ queue }) => queue);
    try {
      for (const [queue, group] of jobs) {
        const hints = group.map(({ payload }) => ({ payload, priority: PRIORITY.normal }));
        await deps.hints.add(queue as 'refresh', hints as never);
      }
    } catch (error) {
      await giveUpClaims(deps, row);
      throw error;
    }
    total += docs.length;
    if (isLast || (await isBackedUp(deps, [...jobs.keys()]))) return total;
  }
}

async function isBackedUp(deps: SweepDeps, queues: JobName[]): Promise<boolean> {
  const waiting = await Promise.all(queues.map((queue) => deps.hints.waiting(queue)));
  return waiting.some((count) => count >= MAX_WAITING);
}

/** Claims up to `CLAIM_SIZE` documents in two calls. Two sweepers never claim the same one. `isLast`: no more are due. */
async function claimDue(deps: SweepDeps, row: DueRow): Promise<{ docs: DueDoc[]; isLast: boolean }> {
  const collection = deps.database.db.collection<DueDoc>(row.in);
  const now = new Date(deps.clock.now());
  // What this sweeper claimed is found again by the very date that it set.
  const until = new Date(now.getTime() + CLAIM_MS + Math.floor(deps.random.fraction() * CLAIM_MS));
  const set: Document = { [row.field]: until };
  if (row.claim) set[row.claim] = { $ifNull: [`$${row.claim}`, `$${row.field}`] };
  const projection = Object.fromEntries((row.read ?? ['_id']).map((field) => [field, 1]));
  const found = (await collection
    .find({ [row.field]: { $lte: now } }, { projection })
    .sort({ [row.field]: 1 })
    .limit(CLAIM_SIZE)
    .toArray()) as DueDoc[];
  const isLast = found.length < CLAIM_SIZE;
  if (found.length === 0) return { docs: [], isLast };
  const ids = found.map((doc) => doc._id);
  const claimed = await collection.updateMany({ _id: { $in: ids }, [row.field]: { $lte: now } }, [{ $set: set }]);
  if (claimed.modifiedCount === found.length) return { docs: found, isLast };
  // Another sweeper was faster with some of them.
  const ours = await collection.find({ _id: { $in: ids }, [row.field]: until }, { projection }).toArray();
  return { docs: ours as DueDoc[], isLast };
}

/**
 * What was claimed and may have been lost with its jobs is due again now, not when its claim ends. Of other sweepers' claims
 * too: a job that comes twice finds nothing to do.
 */
async function giveUpClaims(deps: SweepDeps, row: DueRow): Promise<void> {
  if (!row.isClaimed) return;
  const now = deps.clock.now();
  const filter = { [row.field]: { $gt: new Date(now), $lte: new Date(now + 2 * CLAIM_MS) }, ...row.isClaimed };
  await deps.database.db.collection<DueDoc>(row.in).updateMany(filter, { $set: { [row.field]: new Date(now) } });
}

function groups<K>(docs: DueDoc[], key: (doc: DueDoc) => K): [K, string[]][] {
  return [...Map.groupBy(docs, key)].map(([name, group]) => [name, group.map((doc) => doc._id)]);
}

/** Tenants with entries that wait for their place in the chain. */
async function sweepInbox(deps: SweepDeps): Promise<number> {
  const tenants = await deps.database.collection('audit_inbox').distinct('tenantId');
  await deps.hints.add(
    'audit',
    tenants.map((tenantId) => ({ payload: { tenantId, reason }, id: `audit-${tenantId}` })),
  );
  return tenants.length;
}
