import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AppError } from '../../src/shared/platform/errors.ts';
import { systemRandom } from '../../src/shared/platform/random.ts';
import type { Sealer } from '../../src/shared/sealing/contract.ts';
import type {
  SealContext,
  SealedValue,
  SecretStore,
  StoredSecret,
} from '../../src/shared/sealing/secret-stores/contract.ts';
import { secretStoreNames } from '../../src/shared/sealing/secret-stores/load.ts';
import { testDatabase } from '../../testkit/servers/for-tests.ts';
import { code, testSealer } from '../sealing/support.ts';
import { STORE_SUBJECTS, type StoreSubject } from './secret-store-subjects.ts';

/** A ref that no value has. */
const NOWHERE = '0'.repeat(32);

type Credential = { _id: string; generation: number; secret: StoredSecret };

test('every secret store that exists is held to this suite', async () => {
  expect(STORE_SUBJECTS.map(({ name }) => name).sort()).toEqual(await secretStoreNames());
});

describe.each(STORE_SUBJECTS)('secret store $name ($on)', ({ name, inline, make }) => {
  const database = testDatabase();
  const credentials = database.db.collection<Credential>('credentials');
  let subject: StoreSubject;
  let sealer: Sealer;
  beforeAll(async () => {
    sealer = testSealer(database);
    subject = await make();
  });
  afterAll(() => subject?.stop());

  const newContext = (fields: Partial<SealContext> = {}): SealContext => ({
    tenantId: 'ten_a',
    objectId: `cred_${systemRandom.bytes(6).toString('hex')}`,
    generation: 1,
    ...fields,
  });
  const next = (context: SealContext) => ({ ...context, generation: context.generation + 1 });

  const putOne = async (context: SealContext, sealed: SealedValue, store = subject.store) =>
    (await store.put([{ context, sealed }]))[0]!;
  const getOne = async (context: SealContext, stored: StoredSecret, store = subject.store) =>
    (await store.get([{ context, stored }]))[0];
  const sealAndPut = async (plain: string, context: SealContext) => putOne(context, await sealer.seal(plain, context));
  const openOne = async (context: SealContext, stored: StoredSecret, store?: SecretStore) =>
    sealer.open((await getOne(context, stored, store)) ?? 'missing', context);

  /** The commit of a generation: compare-and-set on the credential's document. */
  const commit = async ({ objectId, generation }: SealContext, secret: StoredSecret) => {
    if (generation === 1) return void (await credentials.insertOne({ _id: objectId, generation, secret }));
    const previous = { _id: objectId, generation: generation - 1 };
    const { modifiedCount } = await credentials.updateOne(previous, { $set: { generation, secret } });
    if (modifiedCount === 0) throw new AppError('conflict');
  };
  const openCommitted = async (context: SealContext) => {
    const doc = (await credentials.findOne({ _id: context.objectId }))!;
    return openOne({ ...context, generation: doc.generation }, doc.secret);
  };

  test('gives back what was put, in another process too, with the version of its data key', async () => {
    const context = newContext();
    const stored = await sealAndPut('s3cret', context);
    expect(stored).toMatchObject({ store: name, keyVersion: 1 });
    expect(await openOne(context, stored)).toBe('s3cret');
    expect(await openOne(context, stored, subject.reopened)).toBe('s3cret');
    await subject.store.health();
  });

  test('keeps the order of many, with null where one is missing', async () => {
    const contexts = Array.from({ length: 60 }, () => newContext());
    const items = await Promise.all(
      contexts.map(async (context) => ({ context, sealed: await sealer.seal(context.objectId, context) })),
    );
    const stored = await subject.store.put(items);
    const missing = { context: newContext(), stored: { store: name, keyVersion: 1, ref: NOWHERE } };
    const found = await subject.store.get([
      missing,
      ...contexts.map((context, i) => ({ context, stored: stored[i]! })),
      missing,
    ]);
    expect(found.at(0)).toBeNull();
    expect(found.at(-1)).toBeNull();
    expect(found.slice(1, -1)).toEqual(items.map(({ sealed }) => sealed.jwe));
    expect(await subject.store.put([])).toEqual([]);
    expect(await subject.store.get([])).toEqual([]);
  });

  test('takes the same value twice: a writer that crashed may repeat itself', async () => {
    const context = newContext();
    const sealed = await sealer.seal('s3cret', context);
    const first = await putOne(context, sealed);
    expect(await putOne(context, sealed)).toEqual(first);
    expect(await putOne(context, sealed, subject.reopened)).toEqual(first);
  });

  test('of ten writers of one generation one wins, and what is committed is what the winner sealed', async () => {
    const first = newContext();
    await commit(first, await sealAndPut('first', first));
    const second = next(first);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, async (_, i) => {
        await commit(second, await sealAndPut(`writer ${i}`, second));
        return `writer ${i}`;
      }),
    );
    const won = outcomes.filter((outcome) => outcome.status === 'fulfilled');
    expect(won).toHaveLength(1);
    for (const lost of outcomes) if (lost.status === 'rejected') expect(lost.reason).toEqual(code('conflict'));
    expect(await openCommitted(first)).toBe(won[0]!.value);
  });

  test('another value of the same generation takes no place of the first, nor does deleting it', async () => {
    const context = newContext();
    const [first, other] = [await sealAndPut('the one', context), await sealAndPut('another', context)];
    expect(await openOne(context, first)).toBe('the one');
    await subject.store.delete([{ context, stored: other }]);
    expect(await openOne(context, first)).toBe('the one');
  });

  test('a crash between write and commit leaves the old generation whole, and the next holder of the lease gets through', async () => {
    const first = newContext();
    await commit(first, await sealAndPut('first', first));
    const second = next(first);
    await sealAndPut('lost with the crash', second);
    expect(await openCommitted(first)).toBe('first');
    await commit(second, await sealAndPut('second', second));
    expect(await openCommitted(first)).toBe('second');
  });

  test('a value moved to another credential, tenant or generation does not open there', async () => {
    const context = newContext();
    const { jwe, keyVersion } = await sealer.seal('s3cret', context);
    for (const other of [newContext(), { ...context, tenantId: 'ten_b' }, next(context)]) {
      await sealer.seal('its own', other);
      const stored = await putOne(other, { jwe, keyVersion });
      await expect(openOne(other, stored)).rejects.toEqual(code('secret_unreadable'));
    }
  });

  test('a value that was tampered with in the store does not open', async () => {
    const context = newContext();
    const stored = await sealAndPut('s3cret', context);
    const change = (text: string) => text.replace(/.(?=.{10}$)/, (character) => (character === 'A' ? 'B' : 'A'));
    if (!subject.tamper) stored.jwe = change(stored.jwe!);
    await subject.tamper?.(change);
    await expect(openOne(context, stored)).rejects.toEqual(code('secret_unreadable'));
  });

  test('what is deleted is gone, deleting it again is success, and the other generations stay', async () => {
    const first = newContext();
    const second = next(first);
    const [old, current] = [await sealAndPut('first', first), await sealAndPut('second', second)];
    await subject.store.delete([{ context: first, stored: old }]);
    await subject.store.delete([{ context: first, stored: old }]);
    expect(await openOne(second, current)).toBe('second');
    // The inline store's value goes with the field of the document that holds it.
    if (!inline) expect(await getOne(first, old)).toBeNull();
    if (!inline) expect(await getOne(first, old, subject.reopened)).toBeNull();
  });

  test('a destroyed credential leaves nothing in the store, not even what a crash left there; others stay', async () => {
    const [context, other] = [newContext(), newContext()];
    const kept = await sealAndPut('kept', other);
    const values = await Promise.all([context, context, next(context)].map((one) => sealer.seal('s3cret', one)));
    await subject.store.put(values.map((sealed, i) => ({ context: i < 2 ? context : next(context), sealed })));
    if (subject.contents) for (const { jwe } of values) expect(await subject.contents()).toContain(jwe);
    await subject.store.purge([context, newContext()]);
    if (subject.contents) for (const { jwe } of values) expect(await subject.contents()).not.toContain(jwe);
    expect(await openOne(other, kept)).toBe('kept');
  });

  test('holds sealed values only', async () => {
    const canary = `canary-${systemRandom.bytes(8).toString('hex')}`;
    const stored = await sealAndPut(canary, newContext());
    const everything = JSON.stringify([stored, (await subject.contents?.()) ?? []]);
    for (const form of ['utf8', 'base64', 'base64url', 'hex'] as const) {
      expect(everything).not.toContain(Buffer.from(canary).toString(form).replace(/=+$/, '').slice(0, -2));
    }
  });

  test('ids with any characters in them stay apart and inside', async () => {
    const ids = ['../../etc/passwd', '..', '/', 'a/b', 'a\0b', 'ä😀', 'x'.repeat(5_000), 'A', 'a', ''];
    for (const objectId of ids) {
      const context = newContext({ objectId });
      expect(await openOne(context, await sealAndPut(objectId, context))).toBe(objectId);
    }
  });

  test('cut off, it says so', async () => {
    const { cutOff } = subject;
    if (!cutOff) return;
    const context = newContext();
    const sealed = await sealer.seal('x', context);
    const stored = { store: name, keyVersion: 1, ref: NOWHERE };
    for (const call of [
      () => cutOff.health(),
      () => cutOff.put([{ context, sealed }]),
      () => cutOff.get([{ context, stored }]),
      () => cutOff.delete([{ context, stored }]),
      () => cutOff.purge([context]),
    ]) {
      await expect(call()).rejects.toEqual(code('store_unavailable'));
    }
  });
});
