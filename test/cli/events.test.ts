import { afterAll, expect, test } from 'vitest';
import { runCommand } from '../../src/cli/run.ts';
import type { EventDoc } from '../../src/shared/store/lifecycle/events.ts';
import { startSystem, testEnvironment } from '../../testkit/system.ts';

const system = await startSystem(testEnvironment());
afterAll(() => system.stop());

const events = system.deps.database.collection('events');

async function park(_id: string): Promise<void> {
  const problem = { code: 'provider_misconfigured' as const, detail: 'check the client' };
  const doc = { _id, tenantId: 'ten_a', source: 'urn:test', sourceId: _id, type: 'credential.refresh.requested' };
  const rest = {
    status: 'parked' as const,
    attempts: 20,
    problem,
    data: {},
    sealed: null,
    credentialId: null,
    fence: 0,
  };
  await events.insertOne({ ...doc, ...rest } as unknown as EventDoc);
}

async function keyturn(...args: string[]) {
  const lines: string[] = [];
  const code = await runCommand(args, { config: () => system.config, print: (line) => void lines.push(line) });
  return { code, lines };
}

test('parked events are listed with their problem, retried and discarded, on the record', async () => {
  expect(await keyturn('events', 'list')).toEqual({ code: 0, lines: [] });
  await park('evt_1');
  await park('evt_2');
  const { code, lines } = await keyturn('events', 'list');
  expect({ code, lines: lines.length }).toEqual({ code: 1, lines: 2 });
  expect(lines[0]).toContain('provider_misconfigured: check the client');
  expect((await keyturn('events', 'retry', '--id', 'evt_1')).code).toBe(0);
  expect((await keyturn('events', 'discard', '--id', 'evt_2')).code).toBe(0);
  expect(await events.findOne({ _id: 'evt_1' })).toMatchObject({ status: 'accepted', attempts: 0 });
  expect(await events.findOne({ _id: 'evt_2' })).toMatchObject({ status: 'failed' });
  const entries = await system.deps.database.collection('audit_inbox').find().sort({ _id: 1 }).toArray();
  expect(entries).toMatchObject([
    { type: 'event.retried', actor: { kind: 'system', id: 'keyturn-cli' } },
    { type: 'event.discarded', actor: { kind: 'system', id: 'keyturn-cli' } },
  ]);
});

test('an event that is not parked, or is not there, is refused', async () => {
  await expect(keyturn('events', 'retry', '--id', 'evt_2')).rejects.toMatchObject({ code: 'transition_refused' });
  await expect(keyturn('events', 'discard', '--id', 'evt_3')).rejects.toMatchObject({ code: 'not_found' });
  await expect(keyturn('events', 'discard')).rejects.toMatchObject({ code: 'invalid_request' });
});
