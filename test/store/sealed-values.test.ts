import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  SEALED_COLLECTIONS,
  SEALED_VALUES,
  sealedValuesOf,
  whereSealed,
} from '../../src/shared/store/sealed-values.ts';

const STORE = new URL('../../src/shared/store/', import.meta.url);

/** The file of a collection: in a folder of its domain. */
const COLLECTION = /^(?!base\/)\w+\/[\w-]+\.ts$/;

/** Fields of type `StoredSecret` in the documents' types: one a line, or several by way of a named type. */
function declared(): string[] {
  const files = readdirSync(STORE, { recursive: true, encoding: 'utf8' }).filter((file) => COLLECTION.test(file));
  const text = files.map((file) => readFileSync(new URL(file, STORE), 'utf8')).join('\n');
  return [...text.matchAll(/(\w+)\??: (?:Readonly<)?StoredSecret\b/g)].map(([, field]) => field!).sort();
}

test('promise 1: the table of sealed values knows every field of the documents that holds one', () => {
  const known = SEALED_COLLECTIONS.flatMap((name) =>
    Object.keys(SEALED_VALUES[name]).map((path) => path.split('.').at(-1)!),
  );
  expect(declared().length).toBeGreaterThan(8);
  expect(known.sort()).toEqual(declared());
});

test('a document without values has none, and absent ones are passed over', () => {
  expect(sealedValuesOf('credentials', { _id: 'c', tenantId: 't', secret: null, rotation: null } as never)).toEqual([]);
  const stored = { store: 'mongodb', keyVersion: 3, jwe: 'x' };
  const subscription = { _id: 's', tenantId: 't', secrets: [{ sealed: stored, generation: 4, until: null }] };
  expect(sealedValuesOf('subscriptions', subscription as never)).toEqual([
    { path: 'secrets.0.sealed', stored, context: { tenantId: 't', objectId: 's', generation: 4 } },
  ]);
});

test('a query asks for every place of a collection', () => {
  expect(whereSealed('credentials', 'keyVersion', { $lt: 2 })).toEqual({
    $or: [
      { 'secret.keyVersion': { $lt: 2 } },
      { 'rotation.pending.keyVersion': { $lt: 2 } },
      { 'rotation.previous.keyVersion': { $lt: 2 } },
    ],
  });
});
