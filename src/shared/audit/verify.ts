/**
 * The verifier (promise 7). Pure: it walks entries in the order of `seq`, names what was tampered with, and says what the
 * evidence at hand cannot show. Evidence is of three kinds: the chain in the entries themselves; the MACs, where the tenant's
 * entry key is at hand; and signed checkpoints, which prove most when they were kept outside of the database.
 */
import { GENESIS } from './chain.ts';
import { type ChainLink, isIntact, placeFor } from './chain-link.ts';

export type FindingKind =
  /** The content is not what its hash was made of. */
  | 'edited'
  | 'removed'
  /** It takes a place that is not its own. */
  | 'inserted'
  /** Its content belongs to another place of the chain. */
  | 'reordered'
  /** The hash is right, but who made it did not have the key. */
  | 'forged'
  | 'tail_cut'
  /** A run of entries was made anew, hashes included. */
  | 'rewritten'
  | 'checkpoint_invalid';

/** One act of tampering. `through` ends a range; `entryId` is null where the entry is gone. */
export type Finding = { kind: FindingKind; seq: number; through?: number; entryId: string | null; about: string };

/** A checkpoint whose signature was checked. */
export type CheckedPoint = { seq: number; hash: string; kept: 'outside' | 'inside' };

export type Evidence = {
  checkpoints: CheckedPoint[];
  /** Whether the MAC of an entry is that of its hash. Absent: nobody here has the key. */
  checkMac?: (entry: ChainLink) => Promise<boolean>;
  /** The head that the database named before the entries were read, and names after; absent for an export. */
  head?: { before: number; after(): Promise<number> };
};

export type VerifyReport = {
  entries: number;
  lastSeq: number;
  lastHash: string;
  findings: Finding[];
  /** Tampering that this evidence could not have shown, and the evidence that would. */
  limits: string[];
};

/** Entries that do not match their hash are compared with each other; those beyond this number only count as edited. */
const MAX_SUSPECTS = 500;

type Walk = {
  evidence: Evidence;
  points: Map<number, CheckedPoint>;
  findings: Finding[];
  suspects: ChainLink[];
  /** A run of entries whose MAC is wrong. */
  forged: ChainLink[];
  entries: number;
  last: ChainLink | null;
  lastIsSuspect: boolean;
  /** The last checkpoint that the chain agrees with. */
  agreedSeq: number;
};

/** Verifies the log of one tenant. `entries` are all of it, in ascending order of `seq`. */
export async function verifyLog(entries: AsyncIterable<ChainLink>, evidence: Evidence): Promise<VerifyReport> {
  const walk: Walk = {
    evidence,
    points: new Map(evidence.checkpoints.map((point) => [point.seq, point])),
    findings: [],
    suspects: [],
    forged: [],
    entries: 0,
    last: null,
    lastIsSuspect: false,
    agreedSeq: 0,
  };
  for await (const entry of entries) await step(walk, entry);
  endForged(walk);
  nameSuspects(walk);
  await checkTail(walk);
  walk.findings.sort((a, b) => a.seq - b.seq);
  return {
    entries: walk.entries,
    lastSeq: walk.last?.seq ?? 0,
    lastHash: walk.last?.hash ?? GENESIS,
    findings: walk.findings,
    limits: limitsOf(walk),
  };
}

async function step(walk: Walk, entry: ChainLink): Promise<void> {
  const { evidence, findings } = walk;
  const expected = (walk.last?.seq ?? 0) + 1;
  walk.entries += 1;
  if (!Number.isSafeInteger(entry.seq) || entry.seq < expected) {
    findings.push(named('inserted', entry, `takes place ${entry.seq}, which is taken or does not exist`));
    return;
  }
  if (entry.seq > expected) {
    endForged(walk);
    findings.push(gap('removed', expected, entry.seq - 1, 'no longer in the log, between entries that are'));
  }
  const follows = entry.seq > expected || entry.prev === (walk.last?.hash ?? GENESIS);
  if (!isIntact(entry)) {
    endForged(walk);
    suspect(walk, entry);
  } else if (evidence.checkMac && !(await evidence.checkMac(entry))) {
    walk.forged.push(entry);
    walk.lastIsSuspect = true;
  } else {
    if (!follows && !walk.lastIsSuspect) blamePrevious(walk, entry);
    endForged(walk);
    walk.lastIsSuspect = false;
  }
  checkPoint(walk, entry);
  walk.last = entry;
}

function suspect(walk: Walk, entry: ChainLink): void {
  if (walk.suspects.length < MAX_SUSPECTS) walk.suspects.push(entry);
  else walk.findings.push(named('edited', entry, 'its content does not match its hash'));
  walk.lastIsSuspect = true;
}

/** This entry is as it was made, but chained to another than the one before it: that one was made anew, hash included. */
function blamePrevious(walk: Walk, entry: ChainLink): void {
  const { last } = walk;
  const about = `entry ${entry.seq} was chained to another one in this place`;
  if (last) walk.findings.push(named('edited', last, about));
  else walk.findings.push(gap('removed', 0, 0, `entry ${entry.seq} was not the first`));
}

/** One forged entry is named; of a run it is said where it begins and ends. */
function endForged(walk: Walk): void {
  const [first, ...rest] = walk.forged;
  walk.forged = [];
  if (!first) return;
  const last = rest.at(-1);
  const finding = last
    ? {
        ...named('rewritten', first, 'hashes are right, but whoever made them did not have the key'),
        through: last.seq,
      }
    : named('forged', first, 'its hash is right, but whoever made it did not have the key');
  walk.findings.push(finding);
}

function checkPoint(walk: Walk, entry: ChainLink): void {
  const point = walk.points.get(entry.seq);
  if (!point) return;
  if (point.hash === entry.hash) {
    walk.agreedSeq = entry.seq;
    return;
  }
  const seq = walk.agreedSeq + 1;
  const about = `entry ${entry.seq} is not the one that a checkpoint kept ${point.kept} was signed for`;
  walk.findings.push({ kind: 'rewritten', seq, through: entry.seq, entryId: entry._id, about });
}

/** An entry that does not match its hash was edited, unless it matches the place of another: then it was moved. */
function nameSuspects(walk: Walk): void {
  for (const entry of walk.suspects) {
    const place = placeFor(entry, walk.suspects);
    walk.findings.push(
      place === null
        ? named('edited', entry, 'its content does not match its hash')
        : named('reordered', entry, `it belongs to place ${place}`),
    );
  }
}

async function checkTail({ evidence: { head }, findings, last, points }: Walk): Promise<void> {
  const lastSeq = last?.seq ?? 0;
  const signed = Math.max(0, ...points.keys());
  const known = Math.max(signed, head?.before ?? 0);
  if (known > lastSeq) {
    const witness = known === signed ? `a checkpoint kept ${points.get(signed)!.kept} was` : 'the head was';
    findings.push(gap('tail_cut', lastSeq + 1, known, `gone from the end; ${witness} at ${known}`));
  }
  const end = await head?.after();
  if (end !== undefined && last && lastSeq > end) {
    findings.push(named('inserted', last, `the log goes on after its head, which is at ${end}`));
  }
}

function limitsOf({ evidence, last, points }: Walk): string[] {
  const outside = evidence.checkpoints.filter(({ kept }) => kept === 'outside').map(({ seq }) => seq);
  const signed = Math.max(0, ...points.keys());
  const lastSeq = last?.seq ?? 0;
  return [
    ...(evidence.checkMac
      ? []
      : ['Without the entry key, a chain rewritten up to its end shows only up to the last checkpoint kept outside.']),
    ...(outside.length > 0
      ? []
      : ['A tail that was cut together with the head and the stored checkpoints shows only against one kept outside.']),
    ...(signed < lastSeq ? [`Entries ${signed + 1} to ${lastSeq} are under no checkpoint yet.`] : []),
    ...(outside.length > 0 && Math.max(...outside) < lastSeq
      ? [`Checkpoints kept outside reach to ${Math.max(...outside)}; what came after could have been cut.`]
      : []),
  ];
}

function named(kind: FindingKind, { seq, _id }: ChainLink, about: string): Finding {
  return { kind, seq, entryId: _id, about };
}

function gap(kind: FindingKind, seq: number, through: number, about: string): Finding {
  return { kind, seq, ...(through > seq && { through }), entryId: null, about };
}
