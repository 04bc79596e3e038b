import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { contextOf } from '../../src/shared/keys/material.ts';
import { AppError } from '../../src/shared/platform/errors.ts';
import { SEALED_VALUES } from '../../src/shared/store/sealed-values.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';
import { code } from '../sealing/support.ts';
import { openAll, rotate, rotationOf, SOON, seed, seedEveryKind, versionsOf } from './support.ts';

const env = testEnvironment(SOON);
let system: TestSystem;

beforeAll(async () => {
  system = await startSystem(env);
  await system.startWorkers();
});
afterAll(() => system.stop());

const entriesOf = async (rotationId: string) => {
  const found = await system.deps.database.db
    .collection('audit')
    .find({ 'detail.rotationId': rotationId })
    .sort({ seq: 1 })
    .toArray();
  return found.map(({ type }) => type);
};

describe('the rotation of a data key', () => {
  test('seals every kind of value anew, proves that nothing is left, and only then retires the old key', async () => {
    const { deps } = system;
    await seedEveryKind(deps, 'ten_all');
    const before = await openAll(deps, 'ten_all');
    expect(before).toHaveLength(Object.values(SEALED_VALUES).flatMap(Object.keys).length + 1);
    const rotation = await rotate(deps, 'data', 'ten_all');
    const done = await rotationOf(deps, rotation);
    expect(done).toMatchObject({ version: 2, left: 0, problem: null, moved: before.length - 3 });
    const after = await openAll(deps, 'ten_all');
    expect(after.map(({ plain }) => plain)).toEqual(before.map(({ plain }) => plain));
    expect(new Set(after.map(({ place }) => place.stored.keyVersion))).toEqual(new Set([2]));
    expect(await versionsOf(deps, 'ten_all', 'seal')).toEqual(['1 retired', '2 active']);
    const old = before[0]!;
    await expect(deps.sealer.open(old.place.stored.jwe!, old.place.context)).rejects.toEqual(code('secret_unreadable'));
  });

  test('leaves what a worker holds alone, and comes back for it; the holder writes as if nothing were', async () => {
    const { deps } = system;
    const [held] = await seed(deps, 'ten_held', 3);
    const credentials = deps.database.collection('credentials');
    const lease = { holder: 'test', purpose: 'refresh', until: new Date(Date.now() + 60_000) };
    await credentials.updateOne({ _id: held! }, { $set: { lease, fence: 7 } });
    const rotation = await rotate(deps, 'data', 'ten_held');
    await rotationOf(deps, rotation, ({ left }) => left === 1);
    expect(await credentials.findOne({ _id: held! })).toMatchObject({ fence: 7, lease, secret: { keyVersion: 1 } });
    expect(await versionsOf(deps, 'ten_held', 'seal')).toEqual(['1 decrypt_only', '2 active']);
    await credentials.updateOne({ _id: held!, fence: 7 }, { $set: { lease: null } });
    expect(await rotationOf(deps, rotation)).toMatchObject({ left: 0, moved: 3, total: 3 });
  });

  test('does not end over a value that does not open, says so, and moves the others', async () => {
    const { deps } = system;
    const [broken, whole] = await seed(deps, 'ten_broken', 2);
    const credentials = deps.database.collection('credentials');
    const jwe = (await credentials.findOne({ _id: whole! }))!.secret!.jwe!;
    await credentials.updateOne({ _id: broken! }, { $set: { 'secret.jwe': jwe } });
    const rotation = await rotate(deps, 'data', 'ten_broken');
    const stuck = await rotationOf(deps, rotation, ({ left, problem }) => left === 1 && problem !== null);
    expect(stuck.problem).toMatchObject({ code: 'secret_unreadable' });
    expect(await credentials.findOne({ _id: whole! })).toMatchObject({ secret: { keyVersion: 2 } });
    expect(await versionsOf(deps, 'ten_broken', 'seal')).toEqual(['1 decrypt_only', '2 active']);
    await credentials.deleteOne({ _id: broken! });
    await rotationOf(deps, rotation);
  });

  test('is one at a time: asking again shows the one that is under way', async () => {
    const { deps } = system;
    await seed(deps, 'ten_twice', 1);
    const [first, second] = await Promise.all([rotate(deps, 'data', 'ten_twice'), rotate(deps, 'data', 'ten_twice')]);
    expect(second._id).toBe(first._id);
    await rotationOf(deps, first);
    const third = await rotate(deps, 'data', 'ten_twice');
    expect(third._id).not.toBe(first._id);
    await rotationOf(deps, third);
    expect(await versionsOf(deps, 'ten_twice', 'seal')).toEqual(['1 retired', '2 retired', '3 active']);
  });

  test('is on the record, step by step (promise 6)', async () => {
    const { deps } = system;
    await seed(deps, 'ten_record', 1);
    const rotation = await rotationOf(deps, await rotate(deps, 'data', 'ten_record'));
    await expect
      .poll(() => entriesOf(rotation._id), { timeout: 10_000 })
      .toEqual(['key.rotation_requested', 'key.version_staged', 'key.version_activated', 'key.rotation_finished']);
  });

  test('where there is no key there is nothing to do', async () => {
    const done = await rotationOf(system.deps, await rotate(system.deps, 'data', 'ten_nobody'));
    expect(done).toMatchObject({ left: 0, version: null });
    expect(await versionsOf(system.deps, 'ten_nobody', 'seal')).toEqual([]);
  });
});

describe('the rotation of a fingerprint key', () => {
  test('a present token is found under the new key; one of the past under the old one, which stays for that', async () => {
    const { deps } = system;
    const ids = await seed(deps, 'ten_fp', 2);
    const credentials = deps.database.collection('credentials');
    const past = await deps.sealer.fingerprint('ten_fp', 'a token of the past');
    await credentials.updateOne({ _id: ids[0]! }, { $push: { fingerprints: past } });
    await rotationOf(deps, await rotate(deps, 'fingerprint', 'ten_fp'));
    expect(await versionsOf(deps, 'ten_fp', 'fingerprint')).toEqual(['1 decrypt_only', '2 active']);
    const tokens = ['at-seed-0-0123456789abcdefghijklmnop', 'rt-seed-0-0123456789abcdefghijklmnop'];
    const fresh = await Promise.all(tokens.map((token) => deps.sealer.fingerprint('ten_fp', token)));
    expect(fresh.every((one) => one.startsWith('v2.'))).toBe(true);
    expect((await credentials.findOne({ _id: ids[0]! }))!.fingerprints).toEqual([...fresh, past]);
    const lookedUp = await deps.sealer.fingerprints('ten_fp', 'a token of the past');
    expect(await credentials.findOne({ fingerprints: { $in: lookedUp } })).toMatchObject({ _id: ids[0] });
    await credentials.updateOne({ _id: ids[0]! }, { $pull: { fingerprints: past } });
    await rotationOf(deps, await rotate(deps, 'fingerprint', 'ten_fp'));
    expect(await versionsOf(deps, 'ten_fp', 'fingerprint')).toEqual(['1 retired', '2 retired', '3 active']);
  });
});

describe('what was sealed before a key was retired', () => {
  test('and comes only now, from the journal of a dead process, opens all the same, and is sealed anew', async () => {
    const { deps } = system;
    const [_id] = await seed(deps, 'ten_late', 1);
    const owner = { _id: _id!, tenantId: 'ten_late' };
    const sealed = await deps.sealer.seal('{"accessToken":"late"}', contextOf(owner, 2));
    expect(sealed.keyVersion).toBe(1);
    await rotationOf(deps, await rotate(deps, 'data', 'ten_late'));
    await expect(deps.sealer.open(sealed.jwe, contextOf(owner, 2))).rejects.toBeInstanceOf(AppError);
    const [secret] = await deps.secrets.put([{ context: contextOf(owner, 2), sealed }]);
    await deps.database
      .collection('credentials')
      .updateOne({ _id: _id! }, { $set: { secret: secret!, generation: 2 } });
    await system.credential({ _id: _id! }, (doc) => doc.secret?.keyVersion === 3);
    const [value] = await openAll(deps, 'ten_late');
    expect(value!.plain).toBe('{"accessToken":"late"}');
    await until(async () => (await versionsOf(deps, 'ten_late', 'seal')).join() === '1 retired,2 retired,3 active', {
      what: 'the old keys to be retired',
    });
  });

  test('and was committed under the retired key all the same, is found and sealed anew by the next rotation', async () => {
    const { deps } = system;
    const [_id] = await seed(deps, 'ten_hung', 1);
    const credentials = deps.database.collection('credentials');
    const before = await credentials.findOne({ _id: _id! });
    await rotationOf(deps, await rotate(deps, 'data', 'ten_hung'));
    await credentials.updateOne({ _id: _id! }, { $set: { secret: before!.secret } });
    await rotationOf(deps, await rotate(deps, 'data', 'ten_hung'));
    expect(await openAll(deps, 'ten_hung')).toMatchObject([{ place: { stored: { keyVersion: 3 } } }]);
  });
});
