/**
 * `node bench/simulation.ts`: the schedule of a hundred million credentials over a day, to see how late refreshes get. Time
 * is in steps of ten seconds and credentials are counted, not made, so it takes seconds. Every refresh goes through the
 * real `nextDue`; limits are those of the providers and of the workers. The worst cases are in it: everything connected
 * within one hour, a provider that is away for two hours, and half of the workers gone.
 */
import { nextDue } from '../src/shared/credentials/schedule.ts';

const STEP_MS = 10_000;
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const STEPS = DAY_MS / STEP_MS;
const TOTAL = 100_000_000;
const MARGIN_MS = 60_000;
/** Points of the jitter that a step's credentials are spread over. */
const SPREAD = 20;

/** Who lives how long, by what the services document; `callsPerSecond` is what each takes of one client. */
type Kind = { name: string; share: number; lifeMs: number; callsPerSecond: number };

const KINDS: Kind[] = [
  { name: 'one hour (Google, Salesforce, Zoom, Microsoft, …)', share: 0.3, lifeMs: HOUR_MS, callsPerSecond: 25_000 },
  { name: 'half an hour (HubSpot)', share: 0.03, lifeMs: HOUR_MS / 2, callsPerSecond: 5_000 },
  { name: 'two hours (GitLab, …)', share: 0.05, lifeMs: 2 * HOUR_MS, callsPerSecond: 3_000 },
  { name: 'eight hours (GitHub Apps, …)', share: 0.12, lifeMs: 8 * HOUR_MS, callsPerSecond: 3_000 },
  { name: 'half a day (Slack with rotation)', share: 0.1, lifeMs: 12 * HOUR_MS, callsPerSecond: 2_000 },
  { name: 'a day and more (Linear, …)', share: 0.1, lifeMs: DAY_MS, callsPerSecond: 2_000 },
  { name: 'ninety days (Figma)', share: 0.1, lifeMs: 90 * DAY_MS, callsPerSecond: 500 },
  { name: 'no end (Notion, keys): probed daily', share: 0.2, lifeMs: DAY_MS / 0.8, callsPerSecond: 2_000 },
];

type Scenario = {
  name: string;
  /** How the first due dates lie: over the whole life, or all within an hour. */
  bornWithinMs: number | null;
  /** Refreshes per second that all workers together can make, at a time of the day. */
  capacity(ms: number): number;
  /** Whether the one-hour services answer. */
  isUp(ms: number): boolean;
};

/** Refreshes per second of one worker process on one core, measured by `npm run bench -- refresh`; the argument sets it. */
const PER_PROCESS = Number(process.argv[2] ?? 1_000);
const PROCESSES = Number(process.argv[3] ?? 40);
const ALL = PER_PROCESS * PROCESSES;

const between = (ms: number, from: number, to: number) => ms >= from * HOUR_MS && ms < to * HOUR_MS;

const SCENARIOS: Scenario[] = [
  { name: 'a usual day', bornWithinMs: null, capacity: () => ALL, isUp: () => true },
  { name: 'all connected within one hour', bornWithinMs: HOUR_MS, capacity: () => ALL, isUp: () => true },
  {
    name: 'the one-hour services away for two hours',
    bornWithinMs: null,
    capacity: () => ALL,
    isUp: (ms) => !between(ms, 6, 8),
  },
  {
    name: 'half of the workers gone for four hours',
    bornWithinMs: null,
    capacity: (ms) => (between(ms, 6, 10) ? ALL / 2 : ALL),
    isUp: () => true,
  },
];

/** Lateness in steps → refreshes; and how many tokens ended before their refresh. */
type Outcome = { late: Map<number, number>; lapsed: number; refreshes: number; busiest: number };

function simulate(scenario: Scenario): Outcome {
  const kinds = KINDS.map((kind) => scheduleOf(kind, scenario));
  const outcome: Outcome = { late: new Map(), lapsed: 0, refreshes: 0, busiest: 0 };
  for (let step = 0; step < STEPS; step += 1) {
    const ms = step * STEP_MS;
    const most = (scenario.capacity(ms) * STEP_MS) / 1000;
    // What a provider does not take, or what its outage holds up, takes no worker's time.
    const wanted = kinds.map(({ kind, waiting }) => Math.min(waiting(step), takenBy(kind, scenario.isUp(ms))));
    const share = Math.min(1, most / wanted.reduce((sum, count) => sum + count, 0));
    const done = kinds.reduce((sum, { work }, index) => sum + work(step, wanted[index]! * share, outcome), 0);
    outcome.refreshes += done;
    outcome.busiest = Math.max(outcome.busiest, done / (STEP_MS / 1000));
  }
  return outcome;
}

/** Calls that a service takes in one step. */
function takenBy({ lifeMs, callsPerSecond }: Kind, isUp: boolean): number {
  return lifeMs === HOUR_MS && !isUp ? 0 : (callsPerSecond * STEP_MS) / 1000;
}

function scheduleOf(kind: Kind, scenario: Scenario) {
  const count = kind.share * TOTAL;
  const delays = delaysOf(kind);
  const longest = Math.max(...delays);
  /** Credentials by the step that they are due in; those beyond the day do not matter. */
  const due = new Float64Array(STEPS + 1);
  const window = scenario.bornWithinMs ?? longest;
  const first = scenario.bornWithinMs === null ? 0 : Math.min(...delays);
  const steps = Math.max(1, Math.round(window / STEP_MS));
  for (let step = 0; step < steps; step += 1) {
    const at = step + Math.round(first / STEP_MS);
    if (at < STEPS) due[at] = due[at]! + count / steps;
  }
  let oldest = 0;
  let backlog = 0;
  let counted = 0;
  return {
    kind,
    waiting: (now: number) => {
      for (; counted <= now; counted += 1) backlog += due[counted]!;
      return backlog;
    },
    /** Refreshes up to `most` of what is due, the longest due first. */
    work: (now: number, most: number, outcome: Outcome): number => {
      let left = most;
      for (; oldest <= now && left > 0; ) {
        const taken = Math.min(left, due[oldest]!);
        due[oldest] = due[oldest]! - taken;
        left -= taken;
        if (taken > 0) note(outcome, now - oldest, taken, kind);
        for (const delay of delays) {
          const next = now + Math.round(delay / STEP_MS);
          if (next < STEPS) due[next] = due[next]! + taken / delays.length;
        }
        if (due[oldest]! > 0) break;
        oldest += 1;
      }
      backlog -= most - left;
      return most - left;
    },
  };
}

function note(outcome: Outcome, lateSteps: number, count: number, kind: Kind): void {
  outcome.late.set(lateSteps, (outcome.late.get(lateSteps) ?? 0) + count);
  // Due at four fifths of its life at the latest: a fifth is left.
  if (lateSteps * STEP_MS > 0.2 * kind.lifeMs) outcome.lapsed += count;
}

/** After how long each of the spread is due again: the real schedule. */
function delaysOf(kind: Kind): number[] {
  return Array.from({ length: SPREAD }, (_, index) => {
    const { refresh } = nextDue({
      now: 0,
      expiresAt: kind.lifeMs,
      refreshExpiresAt: null,
      renewable: true,
      marginMs: MARGIN_MS,
      fraction: index / SPREAD,
      probeEveryMs: DAY_MS,
      refreshTokenIdleMs: null,
    });
    return refresh!.getTime();
  });
}

function quantile({ late, refreshes }: Outcome, share: number): number {
  let seen = 0;
  for (const [steps, count] of [...late].sort(([a], [b]) => a - b)) {
    seen += count;
    if (seen >= share * refreshes) return (steps * STEP_MS) / 1000;
  }
  return 0;
}

process.stdout.write(`${TOTAL} credentials, ${PROCESSES} worker processes of ${PER_PROCESS} refreshes/s each\n`);
for (const scenario of SCENARIOS) {
  const outcome = simulate(scenario);
  const line = {
    scenario: scenario.name,
    refreshesPerSecond: Math.round(outcome.refreshes / (DAY_MS / 1000)),
    busiestPerSecond: Math.round(outcome.busiest),
    lateSeconds: { p50: quantile(outcome, 0.5), p99: quantile(outcome, 0.99), most: quantile(outcome, 1 - 1e-9) },
    endedBeforeRefresh: Math.round(outcome.lapsed),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
