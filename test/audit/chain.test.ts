import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { chainEntries } from '../../src/shared/audit/chain.ts';
import type { Entry } from '../../src/shared/store/audit/inbox.ts';
import { makeEntry } from '../../src/shared/store/entry.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';

const env = testEnvironment();
let system: TestSystem;

beforeAll(async () => {
  system = await startSystem(env);
});
afterAll(() => system.stop());

const collection = <N extends 'audit' | 'audit_inbox' | 'audit_heads'>(name: N) =>
  system.deps.database.collection(name);

async function happen(tenantId: string, count: number): Promise<Entry[]> {
  const actor = { kind: 'system', id: 'test' } as const;
  const entries = Array.from({ length: count }, () =>
    makeEntry(system.deps, { tenantId, type: 'test.happened', actor }),
  );
  await collection('audit_inbox').insertMany(entries);
  return entries;
}

describe('promise 7: the chain', () => {
  test('chainers that run at once put every entry into one place', async () => {
    await happen('ten_many', 500);
    await Promise.all(Array.from({ length: 4 }, () => chainEntries(system.deps, 'ten_many')));
    const seqs = (await collection('audit').find({ tenantId: 'ten_many' }).sort({ seq: 1 }).toArray()).map(
      ({ seq }) => seq,
    );
    expect(seqs).toEqual(Array.from({ length: 500 }, (_, index) => index + 1));
  });

  test('an entry that comes a second time is told once, and holds up nothing', async () => {
    const [first] = await happen('ten_twin', 1);
    await chainEntries(system.deps, 'ten_twin');
    await collection('audit_inbox').insertOne(first!);
    await happen('ten_twin', 1);
    expect(await chainEntries(system.deps, 'ten_twin')).toBe(1);
    expect(await collection('audit').countDocuments({ tenantId: 'ten_twin' })).toBe(2);
    expect(await collection('audit_inbox').countDocuments({ tenantId: 'ten_twin' })).toBe(0);
  });

  test('a log whose head was taken away is not written on, and it is said so', async () => {
    await happen('ten_headless', 1);
    await chainEntries(system.deps, 'ten_headless');
    await collection('audit_heads').deleteOne({ _id: 'ten_headless' });
    await happen('ten_headless', 1);
    await expect(chainEntries(system.deps, 'ten_headless')).rejects.toMatchObject({ code: 'internal' });
    expect(await collection('audit_inbox').countDocuments({ tenantId: 'ten_headless' })).toBe(1);
  });
});
