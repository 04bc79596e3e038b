import { afterAll, describe, expect, test } from 'vitest';
import type { Clock } from '../../src/shared/platform/clock.ts';
import { systemClock } from '../../src/shared/platform/clock.ts';
import { openJournal } from '../../src/shared/work/journal.ts';
import { type Hold, hold } from '../../src/shared/work/leases.ts';
import { seedCredentials } from '../../testkit/credentials.ts';
import { startSystem, testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';

const LEASE_SECONDS = 1;
const HOUR_MS = 3_600_000;

const system = await startSystem(testEnvironment({ KEYTURN_LEASE_SECONDS: String(LEASE_SECONDS) }));
afterAll(() => system.stop());

/** A clock that is wrong by so much. `frozen` never lets a sleep end: such a process renews nothing. */
function skewed(byMs: number, { frozen = false } = {}): Clock {
  return {
    now: () => systemClock.now() + byMs,
    sleep: (ms, signal) => systemClock.sleep(frozen ? HOUR_MS : ms, signal),
  };
}

function worker(workerId: string, clock: Clock) {
  const journal = openJournal(system.config.journalDir, workerId, systemClock);
  const deps = { ...system.deps, clock, workerId, journal };
  return (ids: string[]) => hold(deps, 'credentials', { ids, purpose: 'refresh' });
}

function takeWhenFree(take: ReturnType<typeof worker>, ids: string[]) {
  const taken = async () => {
    const held = await take(ids);
    return held.docs.length > 0 ? held : null;
  };
  return until(taken, { what: 'the lease to lapse', timeoutMs: 5_000 });
}

const seed = () => seedCredentials(system.deps, { count: 1, service: 'acme', tenantId: 'ten_a', from: Date.now() });
const read = (id: string) => system.deps.database.collection('credentials').findOne({ _id: id });
const endAll = (...holds: Hold<unknown>[]) => Promise.all(holds.map((one) => one.end()));

describe('promise 3: one actor per credential', () => {
  test('a worker whose clock is an hour ahead does not take a lease that is held', async () => {
    const ids = await seed();
    const first = await worker('exact', skewed(0))(ids);
    const second = await worker('ahead', skewed(HOUR_MS))(ids);
    expect([first.docs.length, second.docs.length]).toEqual([1, 0]);
    await endAll(first, second);
  });

  test('a worker whose clock is an hour behind holds its lease as long as any other, and no longer', async () => {
    const ids = await seed();
    const first = await worker('behind', skewed(-HOUR_MS, { frozen: true }))(ids);
    const take = worker('next', skewed(0));
    expect((await take(ids)).docs).toEqual([]);
    const second = await takeWhenFree(take, ids);
    expect(second.docs[0]).toMatchObject({ interrupted: { purpose: 'refresh' } });
    expect(first.isFresh()).toBe(false);
    await endAll(first, second);
  });

  test('a lease is renewed while work goes on', async () => {
    const ids = await seed();
    const first = await worker('steady', skewed(0))(ids);
    const before = (await read(ids[0]!))!.lease!.until;
    const renewed = async () =>
      (await read(ids[0]!))!.lease!.until.getTime() > before.getTime() + 2_000 * LEASE_SECONDS;
    await until(renewed, { what: 'renewals' });
    // After each renewal, for a part of a second: a busy machine may look when that is over.
    await until(() => first.isFresh(ids[0]), { what: 'a fresh lease' });
    await first.end();
    expect(await read(ids[0]!)).toMatchObject({ lease: null, interrupted: null });
  });

  test('a worker that finds a lease of its own taken over does not count it as fresh when it renews the others', async () => {
    const [lost] = await seed();
    const [kept] = await seed();
    const first = await worker('cut-off', skewed(0))([lost!, kept!]);
    const taken = { holder: 'someone else', purpose: 'refresh', until: new Date(Date.now() + HOUR_MS) };
    await system.deps.database.collection('credentials').updateOne({ _id: lost! }, { $set: { lease: taken } });
    await until(() => first.isFresh(kept!) && !first.isFresh(lost!), { what: 'the loss to be seen at a renewal' });
    expect(first.isFresh()).toBe(false);
    await first.end();
  });

  test('a holder that comes back late takes the suspicion off what it never sent', async () => {
    const ids = await seed();
    const first = await worker('late', skewed(0, { frozen: true }))(ids);
    const take = worker('taker', skewed(0));
    const second = await takeWhenFree(take, ids);
    expect(await read(ids[0]!)).toMatchObject({ interrupted: { holder: first.holder } });
    await first.end();
    expect(await read(ids[0]!)).toMatchObject({ interrupted: null, lease: { holder: second.holder } });
    await second.end();
  });

  test('an interrupted refresh stays on the record when a later holder with another purpose is interrupted too', async () => {
    const ids = await seed();
    const past = { holder: 'gone', until: new Date(0) };
    const set = { interrupted: { ...past, purpose: 'refresh' }, lease: { ...past, purpose: 'revoke' } };
    await system.deps.database.collection('credentials').updateOne({ _id: ids[0]! }, { $set: set });
    const held = await worker('third', skewed(0))(ids);
    expect(held.docs[0]).toMatchObject({ interrupted: { purpose: 'refresh' } });
    await held.end();
  });
});
