import type { MongoServer } from '../local/servers/mongo.ts';
import type { RedisServer } from '../local/servers/redis.ts';

/** What a measure is given: servers of its own run, and a place to say what it is doing. */
export type BenchContext = {
  mongo: MongoServer;
  redis: RedisServer;
  /** Environment of a Keyturn with a database and a queue prefix that no other measure uses. */
  environment(extra?: Record<string, string>): Record<string, string>;
  /** How many pairs of yardstick and ours are run. */
  runs: number;
  say(line: string): void;
};

/** A measure: one file in `measures/` exports it, and a row of `MEASURES` in `main.ts` names it. Ours and its yardstick run in turns, in the same run. */
export type Bench = {
  name: string;
  about: string;
  /** The least ratio that is good enough; null where the measure only informs. */
  goal: number | null;
  /** False: it runs only when it is named, because it takes long. */
  byDefault: boolean;
  run(context: BenchContext): Promise<Result>;
};

/** Ratios of ours to the yardstick, one per run, higher is better; empty where only figures are given. */
export type Result = { ratios: number[]; figures: Record<string, number | string> };

/** Operations per second, from a number of operations and milliseconds. */
export function perSecond(operations: number, ms: number): number {
  return Math.round((operations / ms) * 1000);
}

/** The value below which a share of the sorted values lies. */
export function quantile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
