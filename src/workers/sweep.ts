/**
 * Turns what MongoDB says is due into jobs. Its cost grows with what is due: every due date has a partial index. When a claimed
 * job gets lost with Redis, the date comes round again; a round that is missed is harmless.
 */
import { eventRow } from '../shared/events/catalogue.ts';
import { chunk } from '../shared/platform/concurrency/chunk.ts';
import { JOB_SIZE, type JobName, type JobPayload, PRIORITY } from '../shared/queue/jobs.ts';
import { DUE as chains } from '../shared/store/audit/heads.ts';
import { listTenantsInInbox } from '../shared/store/audit/inbox.ts';
import type { DueDate } from '../shared/store/base/due-date.ts';
import { DUE as incidents } from '../shared/store/compromise/incidents.ts';
import { DUE as subscriptions } from '../shared/store/delivery/subscriptions.ts';
import { claimDue, type DueDoc, giveUpClaims } from '../shared/store/due.ts';
import { DUE as keyRotations } from '../shared/store/keys/key-rotations.ts';
import { DUE as credentials } from '../shared/store/lifecycle/credentials-due.ts';
import { DUE as events } from '../shared/store/lifecycle/events.ts';
import type { WorkerDeps } from '../shared/work/job.ts';

type SweepDeps = Pick<WorkerDeps, 'database' | 'clock' | 'random' | 'hints'>;

type DueJob = { [N in JobName]: { queue: N; payload: JobPayload<N> } }[JobName];

/** One kind of work that comes due: its date, and how to claim what has come due as jobs. */
type DueRow = {
  date: DueDate<string>;
  claim(deps: SweepDeps): Promise<{ jobs: DueJob[]; claimed: number; isLast: boolean }>;
};

const CLAIM_SIZE = 1_000;
/** From this many waiting jobs on, the sweep claims nothing more for a queue: a backlog in MongoDB costs nothing. */
const MAX_WAITING = 400;

const reason = 'due';

/** A row: a date, and the jobs that documents turn into. */
function due<R extends string>(date: DueDate<R>, toJobs: (docs: DueDoc<R>[]) => DueJob[]): DueRow {
  return {
    date,
    claim: async ({ database, clock, random }) => {
      const at = { now: new Date(clock.now()), fraction: random.fraction() };
      const { docs, isLast } = await claimDue(database, date, { ...at, limit: CLAIM_SIZE });
      return { jobs: toJobs(docs), claimed: docs.length, isLast };
    },
  };
}

/** Everything that is ever due. A new kind of work is a row here, and a `DUE` with an index at its collection. */
const ROWS: readonly DueRow[] = [
  due(credentials.refresh, byService('refresh')),
  due(credentials.expire, byService('refresh')),
  due(credentials.validate, byService('refresh')),
  due(credentials.rotate, byService('rotate')),
  due(events, byQueue),
  due(incidents, (docs) => docs.map(({ _id }) => ({ queue: 'respond', payload: { ids: [_id], reason } }))),
  due(chains.detect, (docs) => docs.map(({ _id }) => ({ queue: 'detect', payload: { tenantIds: [_id], reason } }))),
  due(chains.tell, (docs) => docs.map(({ _id }) => ({ queue: 'audit', payload: { tenantId: _id, reason } }))),
  due(keyRotations, (docs) => docs.map(({ _id }) => ({ queue: 'reseal', payload: { ids: [_id], reason } }))),
  // A job for each: a slow consumer holds up its own deliveries only.
  due(subscriptions, (docs) => docs.map(({ _id }) => ({ queue: 'deliver', payload: { ids: [_id], reason } }))),
];

/** Credentials of one service to a job: a slow provider holds up its own jobs only. */
function byService(queue: 'refresh' | 'rotate') {
  return (docs: DueDoc<'service'>[]): DueJob[] =>
    [...Map.groupBy(docs, (doc) => doc.service)].flatMap(([service, group]) =>
      parts(group).map((credentialIds) => ({ queue, payload: { credentialIds, service, reason } })),
    );
}

function byQueue(docs: DueDoc<'type'>[]): DueJob[] {
  return [...Map.groupBy(docs, (doc) => eventRow(doc.type)?.queue)].flatMap(([queue, group]) =>
    queue ? parts(group).map((eventIds) => ({ queue, payload: { eventIds, reason } })) : [],
  );
}

function parts(docs: { _id: string }[]): string[][] {
  const ids = docs.map(({ _id }) => _id);
  return chunk(ids, JOB_SIZE);
}

/** One look at everything that may be due. Resolves to the number of objects handed to workers. */
export async function sweep(deps: SweepDeps): Promise<number> {
  // Without Redis a claim would only delay the work.
  if (!(await deps.hints.remembers())) for (const { date } of ROWS) await giveUp(deps, date);
  let total = await sweepInbox(deps);
  for (const row of ROWS) total += await sweepRow(deps, row);
  return total;
}

async function sweepRow(deps: SweepDeps, row: DueRow): Promise<number> {
  for (let total = 0; ; ) {
    const { jobs, claimed, isLast } = await row.claim(deps);
    const groups = Map.groupBy(jobs, ({ queue }) => queue);
    try {
      for (const [queue, group] of groups) {
        await deps.hints.add(
          queue,
          group.map(({ payload }) => ({ payload, priority: PRIORITY.normal })),
        );
      }
    } catch (error) {
      await giveUp(deps, row.date);
      throw error;
    }
    total += claimed;
    if (isLast || (await isBackedUp(deps, [...groups.keys()]))) return total;
  }
}

function giveUp({ database, clock }: SweepDeps, date: DueDate<string>): Promise<void> {
  return giveUpClaims(database, date, new Date(clock.now()));
}

async function isBackedUp(deps: SweepDeps, queues: JobName[]): Promise<boolean> {
  const waiting = await Promise.all(queues.map((queue) => deps.hints.waiting(queue)));
  return waiting.some((count) => count >= MAX_WAITING);
}

/** Tenants with entries that wait for their place in the chain. */
async function sweepInbox({ database, hints }: SweepDeps): Promise<number> {
  const tenants = await listTenantsInInbox(database);
  await hints.add(
    'audit',
    tenants.map((tenantId) => ({ payload: { tenantId, reason }, id: `audit-${tenantId}` })),
  );
  return tenants.length;
}
