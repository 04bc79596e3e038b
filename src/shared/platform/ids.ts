import { v7 } from 'uuid';
import type { Clock } from './clock.ts';
import type { Random } from './random.ts';

/** Every kind of object has a prefix of its own; bearer values (`kt_live_…`) never share one with an id. */
export const ID_PREFIXES = {
  tenant: 'ten',
  principal: 'prn',
  credential: 'cred',
  event: 'evt',
  entry: 'ent',
  finding: 'fnd',
  incident: 'inc',
  subscription: 'sub',
  /** Not made by `newId`: a delivery's id is that of its subscription and the number of the entry. */
  delivery: 'dlv',
  alertSource: 'als',
  worker: 'wrk',
  rotation: 'rot',
  keyRotation: 'krt',
  process: 'prc',
} as const;

export type IdKind = keyof typeof ID_PREFIXES;

/** A prefixed UUIDv7 (RFC 9562 §5.7), e.g. `cred_019a…` (32 hex digits, no dashes): sorts by time of making. */
export function newId(kind: IdKind, deps: { clock: Pick<Clock, 'now'>; random: Pick<Random, 'bytes'> }): string {
  const uuid = v7({ msecs: deps.clock.now(), random: deps.random.bytes(16) });
  return `${ID_PREFIXES[kind]}_${uuid.replaceAll('-', '')}`;
}

/** The lowest id that a document made at that time (milliseconds since the epoch) can have: where a range by time begins. */
export function lowestIdAt(kind: IdKind, time: number): string {
  return `${ID_PREFIXES[kind]}_${Math.max(0, time).toString(16).padStart(12, '0')}`;
}
