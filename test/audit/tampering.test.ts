import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Document } from 'mongodb';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { chainEntries, hashEntry } from '../../src/shared/audit/chain.ts';
import type { ChainLink } from '../../src/shared/audit/chain-link.ts';
import { publishCheckpoint } from '../../src/shared/audit/checkpoints.ts';
import { beginExport, exportLines } from '../../src/shared/audit/export.ts';
import type { Finding } from '../../src/shared/audit/verify.ts';
import { verifyStoredLog } from '../../src/shared/audit/verify-stored-log.ts';
import { makeEntry } from '../../src/shared/store/entry.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';

const folder = mkdtempSync(join(tmpdir(), 'keyturn-audit-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const env = testEnvironment({ KEYTURN_CHECKPOINT_DIR: join(folder, 'kept') });
const CLI = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

let system: TestSystem;
let tenantId: string;
let number = 0;

beforeAll(async () => {
  system = await startSystem(env);
});
afterAll(() => system.stop());

/** A log of twelve entries and a checkpoint of the twelfth, whose own entry is the thirteenth. */
beforeEach(async () => {
  number += 1;
  tenantId = `ten_${number}`;
  await add(12);
  await publishCheckpoint(system.deps, tenantId);
  await chainEntries(system.deps, tenantId);
});

async function add(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    const actor = { kind: 'principal' as const, id: `prn_${index}` };
    const entry = makeEntry(system.deps, { tenantId, type: 'credential.accessed', actor, detail: { index } });
    await system.deps.commit({ operations: [], entries: [entry] });
  }
  await chainEntries(system.deps, tenantId);
}

const audit = () => system.deps.database.db.collection<ChainLink>('audit');
const at = async (seq: number) => (await audit().findOne({ tenantId, seq }))!;
const set = (seq: number, fields: Document) => audit().updateOne({ tenantId, seq }, { $set: fields });
const verify = (outside: { seq: number; hash: string; kept: 'outside' }[] = []) =>
  verifyStoredLog(system.deps, tenantId, outside);
const names = (findings: Finding[]) =>
  findings.map(({ kind, seq, through }) => ({ kind, seq, ...(through && { through }) }));

/** What somebody who may write to MongoDB, and lacks the key, can do: make the chain anew from an entry on. */
async function rewriteFrom(seq: number): Promise<void> {
  let { prev } = await at(seq);
  for await (const { hash: _, mac, prev: __, ...record } of audit()
    .find({ tenantId, seq: { $gte: seq } })
    .sort({ seq: 1 })) {
    const hash = hashEntry(prev, record as { seq: number });
    await set(record.seq as number, { prev, hash, mac });
    prev = hash;
  }
}

describe('on the live log', () => {
  test('a log that nobody touched is whole', async () => {
    expect(await verify()).toMatchObject({ entries: 13, lastSeq: 13, findings: [] });
  });

  test('an edited entry is named', async () => {
    const { _id } = await at(5);
    await set(5, { 'actor.id': 'prn_somebody_else' });
    expect((await verify()).findings).toMatchObject([{ kind: 'edited', seq: 5, entryId: _id }]);
  });

  test('an edited entry with a hash made anew is named', async () => {
    const { hash: _, mac: __, prev, ...record } = await at(5);
    const edited = { ...record, reason: 'nothing to see' };
    await set(5, { reason: 'nothing to see', hash: hashEntry(prev, edited as never) });
    expect(names((await verify()).findings)).toEqual([{ kind: 'forged', seq: 5 }]);
  });

  test('deleted entries are named', async () => {
    await audit().deleteMany({ tenantId, seq: { $in: [4, 7, 8] } });
    expect(names((await verify()).findings)).toEqual([
      { kind: 'removed', seq: 4 },
      { kind: 'removed', seq: 7, through: 8 },
    ]);
  });

  test('swapped entries are named, each with the place that it belongs to', async () => {
    const [a, b] = [await at(3), await at(9)];
    await set(3, { seq: -1 });
    await set(9, { seq: 3 });
    await audit().updateOne({ _id: a._id }, { $set: { seq: 9 } });
    expect((await verify()).findings).toMatchObject([
      { kind: 'reordered', seq: 3, entryId: b._id, about: 'it belongs to place 9' },
      { kind: 'reordered', seq: 9, entryId: a._id, about: 'it belongs to place 3' },
    ]);
  });

  test('contents that were swapped under their hashes are named', async () => {
    const [a, b] = [await at(3), await at(9)];
    await audit().deleteMany({ tenantId, seq: { $in: [3, 9] } });
    const place = ({ seq, prev, hash, mac }: ChainLink) => ({ seq, prev, hash, mac });
    await audit().insertMany([
      { ...a, ...place(b) },
      { ...b, ...place(a) },
    ]);
    expect(names((await verify()).findings)).toEqual([
      { kind: 'reordered', seq: 3 },
      { kind: 'reordered', seq: 9 },
    ]);
  });

  test('an entry put in between is named', async () => {
    const entry = { ...(await at(6)), _id: 'ent_forged', seq: 6.5 };
    await audit().insertOne(entry);
    expect((await verify()).findings).toMatchObject([{ kind: 'inserted', seq: 6.5, entryId: 'ent_forged' }]);
  });

  test('an entry put at the end is named, also when the head was moved', async () => {
    const { hash: prev, mac, seq: last, ...like } = await at(13);
    const { hash: _, prev: __, ...record } = { ...like, _id: 'ent_tail', seq: last + 1, hash: '' };
    const hash = hashEntry(prev, record);
    await audit().insertOne({ ...record, prev, hash, mac });
    await system.deps.database.collection('audit_heads').updateOne({ _id: tenantId }, { $set: { seq: 14, hash } });
    expect((await verify()).findings).toMatchObject([{ kind: 'forged', seq: 14, entryId: 'ent_tail' }]);
  });

  test('a chain that was rewritten to its end is named from its first forged entry', async () => {
    await set(8, { reason: 'rewritten' });
    await rewriteFrom(8);
    await system.deps.database.collection('checkpoints').deleteMany({ tenantId });
    expect(names((await verify()).findings)).toEqual([{ kind: 'rewritten', seq: 8, through: 13 }]);
  });

  test('a cut tail is named by the head, and by a stored checkpoint when the head was moved', async () => {
    await audit().deleteMany({ tenantId, seq: { $gt: 10 } });
    expect(names((await verify()).findings)).toEqual([{ kind: 'tail_cut', seq: 11, through: 13 }]);
    await moveHead(10);
    expect(names((await verify()).findings)).toEqual([{ kind: 'tail_cut', seq: 11, through: 12 }]);
  });

  test('a tail cut with head and checkpoints shows only against a checkpoint kept outside, and the report says so', async () => {
    const { seq, hash } = (await system.deps.database.collection('checkpoints').findOne({ tenantId }))!;
    await audit().deleteMany({ tenantId, seq: { $gt: 10 } });
    await moveHead(10);
    await system.deps.database.collection('checkpoints').deleteMany({ tenantId });
    const without = await verify();
    expect(without.findings).toEqual([]);
    expect(without.limits.join(' ')).toContain('only against one kept outside');
    const withOne = await verify([{ seq, hash, kept: 'outside' }]);
    expect(names(withOne.findings)).toEqual([{ kind: 'tail_cut', seq: 11, through: 12 }]);
  });

  test('a stored checkpoint with a forged signature is named', async () => {
    const note = (await system.deps.database.collection('checkpoints').findOne({ tenantId }))!.note;
    const forged = note.replace(/\n12\n/, '\n11\n');
    await system.deps.database.collection('checkpoints').updateOne({ tenantId }, { $set: { note: forged } });
    expect(names((await verify()).findings)).toEqual([{ kind: 'checkpoint_invalid', seq: 12 }]);
  });

  async function moveHead(seq: number): Promise<void> {
    const { hash } = await at(seq);
    await system.deps.database.collection('audit_heads').updateOne({ _id: tenantId }, { $set: { seq, hash } });
  }
});

describe('keyturn audit verify', () => {
  const run = promisify(execFile);
  const keyturn = (...args: string[]) => command('audit', 'verify', ...args);

  async function command(...args: string[]): Promise<{ code: number; output: string }> {
    const options = { env: { PATH: process.env.PATH, ...env } };
    return run(process.execPath, [CLI, ...args], options).then(
      ({ stdout }) => ({ code: 0, output: stdout }),
      (error) => ({ code: error.code, output: error.stdout + error.stderr }),
    );
  }

  async function exportTo(path: string): Promise<string> {
    const checkpoint = await beginExport(system.deps, tenantId, { kind: 'system', id: 'test' });
    let text = '';
    for await (const chunk of exportLines(system.deps, checkpoint)) text += chunk;
    writeFileSync(path, text);
    return text;
  }

  test('says that a live log is whole, and names what was edited', async () => {
    expect(await keyturn('--tenant', tenantId)).toMatchObject({ code: 0 });
    const { _id } = await at(7);
    await set(7, { service: 'figma' });
    const { code, output } = await keyturn('--tenant', tenantId);
    expect(code).toBe(1);
    expect(output).toContain(`edited: entry 7 (${_id})`);
  });

  test('an export is verified without a database, against a checkpoint kept outside', async () => {
    const path = join(folder, 'export.ndjson');
    const text = await exportTo(path);
    const [kept] = readdirSync(join(folder, 'kept')).filter((name) => name === `${tenantId}.jsonl`);
    const checkpoint = join(folder, 'kept', kept!);
    expect(await keyturn('--export', path, '--checkpoint', checkpoint)).toMatchObject({ code: 0 });

    writeFileSync(path, text.replace('prn_3', 'prn_x'));
    const edited = await keyturn('--export', path, '--checkpoint', checkpoint);
    expect(edited.code).toBe(1);
    expect(edited.output).toContain('edited: entry 4');

    writeFileSync(path, text.split('\n').slice(0, 9).join('\n'));
    const cut = await keyturn('--export', path, '--checkpoint', checkpoint);
    expect(cut.code).toBe(1);
    expect(cut.output).toMatch(/tail_cut: entries 9 to \d+: gone from the end; a checkpoint kept outside/);
  });

  test('a rewritten export shows against the checkpoint kept outside', async () => {
    const path = join(folder, 'rewritten.ndjson');
    const lines = (await exportTo(path))
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    let prev = '';
    for (const { entry } of lines.filter(({ kind }) => kind === 'entry')) {
      if (entry.seq === 5) entry.reason = 'rewritten';
      if (entry.seq >= 5) {
        const { hash: _, prev: __, mac: ___, ...record } = entry;
        Object.assign(entry, { prev, hash: hashEntry(prev, record) });
      }
      prev = entry.hash;
    }
    writeFileSync(path, `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`);
    const { code, output } = await keyturn('--export', path, '--checkpoint', join(folder, 'kept', `${tenantId}.jsonl`));
    expect(code).toBe(1);
    expect(output).toContain('rewritten: entries 1 to 12');
  });

  test('checkpoints of a key that was replaced still verify, and new ones are signed with its successor', async () => {
    expect(await command('signing-key', 'rotate', '--use', 'checkpoint')).toMatchObject({ code: 0 });
    await add(1);
    await publishCheckpoint(system.deps, tenantId);
    const kids = await system.deps.database.collection('checkpoints').distinct('kid', { tenantId });
    expect(kids).toHaveLength(2);
    expect(await keyturn('--tenant', tenantId)).toMatchObject({ code: 0 });
    expect(await keyturn('--tenant', 'system')).toMatchObject({ code: 0 });
  });

  test('checkpoints are kept outside with the key that they verify with, one a line', () => {
    const [line] = readFileSync(join(folder, 'kept', `${tenantId}.jsonl`), 'utf8').split('\n');
    expect(JSON.parse(line!)).toMatchObject({ seq: 12, verifierKey: expect.stringMatching(/^keyturn\/ten_\d+\+/) });
  });

  test('what cannot be checked is told apart from what was tampered with', async () => {
    expect(await keyturn('--export', join(folder, 'missing'))).toMatchObject({ code: 2 });
    expect(await keyturn('--nonsense')).toMatchObject({ code: 2 });
    expect((await keyturn('--help')).output).toContain('Exit codes');
  });
});
