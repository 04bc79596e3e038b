import { appendFileSync, existsSync, mkdtempSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createRefreshJob } from '../../src/shared/credentials/refresh/job.ts';
import type { Generation } from '../../src/shared/credentials/secret-generation.ts';
import { storeMaterial } from '../../src/shared/keys/material.ts';
import { systemClock } from '../../src/shared/platform/clock.ts';
import { Secret } from '../../src/shared/platform/secret.ts';
import type { CredentialDoc } from '../../src/shared/store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../src/shared/work/job.ts';
import { type Journal, openJournal } from '../../src/shared/work/journal.ts';
import { hold } from '../../src/shared/work/leases.ts';
import { recoverJournals } from '../../src/shared/work/recovery.ts';
import { seedCredentials } from '../../testkit/credentials.ts';
import { startSystem, testEnvironment } from '../../testkit/system.ts';

const system = await startSystem(testEnvironment());
afterAll(() => system.stop());
const credentials = system.deps.database.collection('credentials');

let dir: string;
let dead: Journal;
let deps: WorkerDeps;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'keyturn-journal-'));
  dead = openJournal(dir, 'dead', systemClock);
  deps = { ...system.deps, workerId: 'dead', journal: dead } as unknown as WorkerDeps;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

async function seed(): Promise<string[]> {
  return seedCredentials(system.deps, { count: 1, service: 'acme', tenantId: 'ten_a', from: Date.now() });
}

/** Another process looks a minute after the last sign of life. */
async function takeUp(): Promise<void> {
  const longAgo = new Date(Date.now() - 60_000);
  utimesSync(join(dir, 'dead.journal'), longAgo, longAgo);
  const journal = openJournal(dir, 'heir', systemClock);
  const heir = { ...deps, workerId: 'heir', journal };
  await recoverJournals(heir, new Map([['refresh', createRefreshJob(heir)]]));
}

async function answerFor(doc: CredentialDoc): Promise<Generation> {
  const material = { accessToken: new Secret('new-access'), refreshToken: new Secret('new-refresh') };
  const generation = doc.generation + 1;
  return {
    generation,
    secret: await storeMaterial(system.deps, doc, generation, material),
    fingerprints: [],
    tokenType: 'Bearer',
    expiresAt: Date.now() + 3_600_000,
    refreshExpiresAt: null,
    hasRefreshToken: true,
    scopes: [],
    metadata: {},
    due: {},
    at: Date.now(),
  };
}

const take = (ids: string[]) => hold(deps, 'credentials', { ids, purpose: 'refresh', op: 'refresh' });

describe('promise 4: what a dead process leaves', () => {
  test('an answer is committed, also when the last line was cut in the middle', async () => {
    const { docs } = await take(await seed());
    const doc = docs[0]!;
    dead.sent(doc._id, doc.fence);
    dead.replied(doc._id, doc.fence, await answerFor(doc));
    appendFileSync(join(dir, 'dead.journal'), '{"k":"done","id":"cre');
    await takeUp();
    expect(await credentials.findOne({ _id: doc._id })).toMatchObject({
      generation: 2,
      lease: null,
      interrupted: null,
    });
    expect(existsSync(join(dir, 'dead.journal'))).toBe(false);
  });

  test('an answer is committed once, however many take it up', async () => {
    const { docs } = await take(await seed());
    const doc = docs[0]!;
    dead.replied(doc._id, doc.fence, await answerFor(doc));
    await Promise.all([takeUp(), takeUp()]);
    expect(await credentials.findOne({ _id: doc._id })).toMatchObject({ generation: 2 });
    const filter = { credentialId: doc._id, type: 'credential.refreshed' };
    const inbox = await system.deps.database.collection('audit_inbox').countDocuments(filter);
    expect(inbox + (await system.deps.database.collection('audit').countDocuments(filter))).toBe(1);
  });

  test('what was leased and never sent is free at once, and under no suspicion', async () => {
    const ids = await seed();
    await take(ids);
    await takeUp();
    expect(await credentials.findOne({ _id: ids[0]! })).toMatchObject({ lease: null, interrupted: null });
  });

  test('leases that were granted before the next line was written are free at once as well', async () => {
    const ids = await seed();
    dead.taking({ op: 'refresh', in: 'credentials', holder: 'dead/1', ids });
    const lease = { holder: 'dead/1', purpose: 'refresh', until: new Date(Date.now() + 60_000) };
    await credentials.updateOne({ _id: ids[0]! }, { $set: { lease } });
    await takeUp();
    expect(await credentials.findOne({ _id: ids[0]! })).toMatchObject({ lease: null, interrupted: null });
  });

  test('what was sent without an answer stays leased: its refresh token may be spent', async () => {
    const { docs } = await take(await seed());
    const doc = docs[0]!;
    dead.sent(doc._id, doc.fence);
    await takeUp();
    expect(await credentials.findOne({ _id: doc._id })).toMatchObject({ lease: { purpose: 'refresh' } });
  });
});

describe('a process that was taken for dead', () => {
  test('writes what is open to a new file at its next sign of life', async () => {
    const { docs } = await take(await seed());
    const doc = docs[0]!;
    await takeUp();
    dead.replied(doc._id, doc.fence, await answerFor(doc));
    dead.touch();
    expect(readdirSync(dir)).toContain('dead.journal');
    await takeUp();
    expect(await credentials.findOne({ _id: doc._id })).toMatchObject({ generation: 2 });
  });

  test('leaves no file when it ends in good order with nothing open', async () => {
    const held = await take(await seed());
    await held.end();
    dead.close();
    expect(readdirSync(dir)).not.toContain('dead.journal');
  });
});
