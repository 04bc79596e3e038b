import { afterAll, expect, test } from 'vitest';
import { sweep } from '../../src/workers/sweep.ts';
import { seedIdle } from '../../testkit/credentials.ts';
import { startSystem, testEnvironment } from '../../testkit/system.ts';

const IDLE = 3_000;

const system = await startSystem(testEnvironment());
afterAll(() => system.stop());
const { database } = system.deps;

/** What MongoDB looked at while `work` ran, in this test's own database; this process's signs of life do not count. */
async function lookedAt(work: () => Promise<unknown>) {
  await database.db.command({ profile: 2 });
  await work();
  await database.db.command({ profile: 0 });
  const others = { ns: { $ne: `${database.db.databaseName}.processes` } };
  const calls = await database.db.collection('system.profile').find(others).toArray();
  const sum = (field: string) => calls.reduce((total, call) => total + (call[field] ?? 0), 0);
  return { calls: calls.length, docs: sum('docsExamined'), keys: sum('keysExamined'), plans: calls.map(planOf) };
}

function planOf(call: Record<string, unknown>): string {
  return `${call.op} ${call.ns}: ${call.planSummary ?? ''}`;
}

test('the cost of a sweep grows with what is due, not with what exists: idle credentials are not looked at', async () => {
  await seedIdle(system.deps, { count: IDLE, service: 'acme', tenantId: 'ten_a' });
  await sweep(system.deps);
  const cost = await lookedAt(() => sweep(system.deps));
  expect(cost).toMatchObject({ docs: 0 });
  expect(cost.calls).toBeGreaterThan(5);
  expect(cost.keys).toBeLessThan(10);
  expect(cost.plans.filter((plan) => plan.includes('COLLSCAN'))).toEqual([]);
});

test('any number of sweepers share what is due: nothing is handed out twice', async () => {
  const due = new Date(Date.now() - 1_000);
  const credentials = database.collection('credentials');
  await credentials.updateMany({}, { $set: { 'due.refresh': due } });
  const counts = await Promise.all(Array.from({ length: 4 }, () => sweep(system.deps)));
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(IDLE);
  expect(await credentials.countDocuments({ 'claimed.refresh': due })).toBe(IDLE);
});

test('a claim that nobody settles is due again by itself, with the date that it was first due', async () => {
  const credentials = database.collection('credentials');
  const [doc] = await credentials
    .find({ 'claimed.refresh': { $exists: true } })
    .limit(1)
    .toArray();
  await credentials.updateOne({ _id: doc!._id }, { $set: { 'due.refresh': new Date(Date.now() - 1) } });
  expect(await sweep(system.deps)).toBe(1);
  expect(await credentials.findOne({ _id: doc!._id })).toMatchObject({ claimed: doc!.claimed });
});
