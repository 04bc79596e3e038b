/** What must hold when the storm is over, whatever happened in it. */
import { GENESIS, hashEntry } from '../../src/shared/audit/chain.ts';
import { openMaterial } from '../../src/shared/keys/material.ts';
import type { ChainedEntry } from '../../src/shared/store/audit/entries.ts';
import type { CredentialDoc } from '../../src/shared/store/lifecycle/credentials.ts';
import type { EventDoc } from '../../src/shared/store/lifecycle/events.ts';
import { until } from '../../testkit/until.ts';
import type { Model } from './traffic.ts';
import type { World } from './world.ts';

export type Verdict = {
  accepted: number;
  /** Acknowledged events that are not there, credentials given up though their grant lives, answers without an entry. */
  lost: number;
  /** Work that was done, or recorded, twice. */
  doubled: number;
  /** Events that do not settle, credentials that are neither right nor honest about it. */
  stuck: number;
  /** Grants that the provider ended because a token or a code of theirs was used again. */
  grantsRevokedByReuse: number;
  /** Credentials whose new token a process took with it into death, and says so. No promise covers that instant. */
  lostToWriteWindow: number;
  latenessMs: { p50: number; p99: number };
  chainOk: boolean;
  /** One line for each broken promise. */
  problems: string[];
};

const SETTLE_WITHIN_MS = 240_000;

/** Waits until all is settled, for four minutes at most, and judges. */
export async function judge(world: World, model: Model): Promise<Verdict> {
  const stuck = await stuckThings(world, model);
  const [events, credentials] = await Promise.all([
    world.deps.database.collection('events').find().toArray(),
    world.deps.database.collection('credentials').find().toArray(),
  ]);
  const log = await chainedLog(world);
  const lost = [
    ...lostEvents(model, events),
    ...(await givenUpInVain(world, credentials)),
    ...unrecorded(credentials, log),
  ];
  const doubled = [...doubledEntries(log), ...doubledSubjects(credentials), ...model.contradictions];
  const reused = world.provider.grantsRevoked.filter(({ route }) => route === 'token');
  const chain = brokenChain(log);
  return {
    accepted: model.accepted.size,
    lost: lost.length,
    doubled: doubled.length,
    stuck: stuck.length,
    grantsRevokedByReuse: reused.length,
    lostToWriteWindow: lostToWriteWindow(log),
    latenessMs: lateness(log),
    chainOk: chain.length === 0,
    problems: [
      ...lost,
      ...doubled,
      ...stuck,
      ...reused.map(({ grantId }) => `grant ${grantId} was ended by reuse`),
      ...reasonsOf(world, reused.length),
      ...chain,
    ],
  };
}

/** What the provider said when it ended grants. */
function reasonsOf({ provider }: World, reused: number): string[] {
  if (reused === 0) return [];
  return provider.grantErrors
    .filter(({ reason }) => reason.includes('already'))
    .map(({ grantType, reason }) => `the provider on a ${grantType}: ${reason}`);
}

/** What is still not settled after the time that everything has. */
async function stuckThings(world: World, model: Model): Promise<string[]> {
  let left: string[] = [];
  const settled = until(
    async () => {
      left = await unsettled(world, model);
      return left.length === 0;
    },
    { what: 'everything to settle', timeoutMs: SETTLE_WITHIN_MS, everyMs: 500 },
  );
  await settled.catch(() => {});
  return left;
}

async function unsettled(world: World, model: Model): Promise<string[]> {
  const { database } = world.deps;
  const open = await database
    .collection('events')
    .find({ status: { $nin: ['succeeded', 'failed'] } })
    .toArray();
  const credentials = await database.collection('credentials').find().toArray();
  const wrong = await Promise.all(credentials.map((doc) => whatIsWrong(world, model, doc)));
  const waiting = await database.collection('audit_inbox').countDocuments();
  return [
    ...open.map(({ _id, type, status, problem }) => `${_id} (${type}) is ${status}: ${problem?.code}`),
    ...wrong.filter((line) => line !== null),
    ...(waiting > 0 ? [`${waiting} entries are not chained`] : []),
  ];
}

/** Null for a credential that is right, or honest about not being so. */
async function whatIsWrong(world: World, model: Model, doc: CredentialDoc): Promise<string | null> {
  const says = `${doc._id} is ${doc.state}`;
  if (doc.state === 'revoked' || doc.state === 'destroyed')
    return model.revoked.has(doc._id) ? null : `${says}, but nobody asked for it`;
  if (model.revoked.has(doc._id)) return `${says}, but was to be revoked`;
  if (doc.state === 'reauthorization_required') return null;
  if (doc.state !== 'active') return says;
  const { accessToken, refreshToken } = await openMaterial(world.deps, doc);
  const access = await world.provider.findToken(accessToken.reveal());
  const refresh = refreshToken && (await world.provider.findToken(refreshToken.reveal()));
  if (!access?.active) return `${says}, but its token is not good`;
  return refresh?.active ? null : `${says}, but its refresh token is not the newest`;
}

function lostEvents(model: Model, events: EventDoc[]): string[] {
  const byId = new Map(events.map((event) => [event._id, event]));
  return [...model.accepted]
    .filter(([id, sent]) => byId.get(id)?.sourceId !== sent.sourceId)
    .map(([id, { type }]) => `${id} (${type}) was accepted and is not there`);
}

/** A credential may ask for a new consent only when its grant is really over. */
async function givenUpInVain(world: World, credentials: CredentialDoc[]): Promise<string[]> {
  const givenUp = credentials.filter(({ state }) => state === 'reauthorization_required');
  const lines = givenUp.map(async (doc) => {
    const { refreshToken } = await openMaterial(world.deps, doc);
    const belief = refreshToken && (await world.provider.findToken(refreshToken.reveal()));
    return belief?.active ? `${doc._id} was given up (${doc.lastError?.code}), but its grant lives` : null;
  });
  return (await Promise.all(lines)).filter((line) => line !== null);
}

/** Every generation of every credential has its entry. */
function unrecorded(credentials: CredentialDoc[], log: ChainedEntry[]): string[] {
  const recorded = new Set(log.map((entry) => `${entry.credentialId} ${entry.detail.generation}`));
  return credentials.flatMap(({ _id, generation }) =>
    Array.from({ length: generation }, (_, index) => index + 1)
      .filter((number) => !recorded.has(`${_id} ${number}`))
      .map((number) => `generation ${number} of ${_id} has no entry`),
  );
}

function doubledEntries(log: ChainedEntry[]): string[] {
  const isBirth = ({ type }: ChainedEntry) => type === 'credential.activated' || type === 'credential.refreshed';
  const keys = [
    ...log.map((entry) => `entry ${entry._id}`),
    ...log.filter(isBirth).map(({ credentialId, detail }) => `generation ${detail.generation} of ${credentialId}`),
    ...log.filter(({ type }) => type === 'credential.activated').map(({ eventId }) => `activation by ${eventId}`),
    ...log.filter(({ type }) => type === 'credential.revoked').map((entry) => `revocation of ${entry.credentialId}`),
  ];
  return [...Map.groupBy(keys, (key) => key)].filter(([, all]) => all.length > 1).map(([key]) => `twice: ${key}`);
}

function doubledSubjects(credentials: CredentialDoc[]): string[] {
  const bySubject = Map.groupBy(credentials, ({ subject }) => subject);
  return [...bySubject].filter(([, all]) => all.length > 1).map(([subject]) => `twice: credential of ${subject}`);
}

/** An end without a failure before it: the process died between the provider's reply and its own next line. */
function lostToWriteWindow(log: ChainedEntry[]): number {
  const byCredential = Map.groupBy(log, ({ credentialId }) => credentialId);
  const died = [...byCredential.values()].filter((entries) => {
    const end = entries.findIndex(({ reason }) => reason === 'refresh_outcome_unknown');
    return end > 0 && entries[end - 1]!.type !== 'credential.refresh_failed';
  });
  return died.length;
}

function lateness(log: ChainedEntry[]): Verdict['latenessMs'] {
  const values = log
    .map(({ detail }) => detail.latenessMs)
    .filter((value) => typeof value === 'number')
    .toSorted((a, b) => a - b);
  const at = (share: number) => values[Math.min(values.length - 1, Math.floor(share * values.length))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}

async function chainedLog(world: World): Promise<ChainedEntry[]> {
  return world.deps.database.collection('audit').find().sort({ tenantId: 1, seq: 1 }).toArray();
}

function brokenChain(log: ChainedEntry[]): string[] {
  const byTenant = Map.groupBy(log, ({ tenantId }) => tenantId);
  return [...byTenant].flatMap(([tenantId, entries]) => {
    let prev = GENESIS;
    return entries.flatMap((entry, index) => {
      const { prev: named, hash, mac: _, ...record } = entry;
      const isLinked = entry.seq === index + 1 && named === prev && hashEntry(prev, record) === hash;
      prev = hash;
      return isLinked ? [] : [`entry ${entry.seq} of ${tenantId} is not chained`];
    });
  });
}
