import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { messageOf } from '../../src/shared/delivery/message.ts';
import type { Message, Sink, SinkPlugin, Target } from '../../src/shared/delivery/sinks/contract.ts';
import { loadSink, sinkNames } from '../../src/shared/delivery/sinks/load.ts';
import { parseConfig } from '../../src/shared/platform/config/parse.ts';
import { Secret } from '../../src/shared/platform/secret.ts';
import { newWebhookSecret } from '../../src/shared/platform/standard-webhooks.ts';
import { makeEntry } from '../../src/shared/store/entry.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../testkit/system.ts';
import { SINK_SUBJECTS, type SinkSubject } from './sink-subjects.ts';

const REASON = /^([a-z_]{3,40}|[A-Z][A-Z0-9_]{2,40})$/;

const env = testEnvironment({
  KEYTURN_ALLOW_PRIVATE_WEBHOOKS: 'true',
  KEYTURN_CALL_TIMEOUT_SECONDS: '30',
});
/** For calls that must fail. */
const SOON = { KEYTURN_CALL_TIMEOUT_SECONDS: '0.7' };
const tenantId = 'ten_conformance';
const FIXED_RANDOM = { bytes: (count: number) => Buffer.alloc(count, 9) };
let system: TestSystem;

beforeAll(async () => {
  system = await startSystem(env);
});
afterAll(() => system.stop());

describe.each(await sinkNames())('%s', async (name) => {
  const plugin: SinkPlugin = await loadSink(name);
  const ended = new AbortController();
  const secret = plugin.secret === 'generated' ? newWebhookSecret(FIXED_RANDOM) : new Secret('canary-5f0c');
  const secrets = plugin.secret === 'none' ? [] : [secret];
  let subject: SinkSubject;
  let sink: Sink<unknown>;
  let seq = 0;

  beforeAll(async () => {
    expect(Object.keys(SINK_SUBJECTS), 'a sink has a row in sink-subjects.ts').toContain(name);
    subject = await SINK_SUBJECTS[name]!({ env, tenantId });
    sink = open({});
  });
  afterAll(async () => {
    ended.abort();
    await subject.stop();
  });

  const open = (extra: Record<string, string>) =>
    plugin.create({ ...system.deps, config: parseConfig({ ...env, ...extra }) }, ended.signal);
  const target = (settings: unknown = subject.settings): Target<unknown> => ({
    tenantId,
    subscriptionId: 'sub_conformance',
    settings,
    secrets,
    replays: 0,
  });
  const never = () => new AbortController().signal;

  /** Messages that the sink can tell. */
  function messages(count: number): Message[] {
    const type = plugin.takes?.[0]?.replaceAll('*', 'x') ?? 'credential.refreshed';
    return Array.from({ length: count }, () => {
      seq += 1;
      const happening = { tenantId, type, actor: { kind: 'system' as const, id: 'test' }, subject: 'ada' };
      const entry = makeEntry(system.deps, happening);
      return messageOf({ ...entry, seq, prev: '0', hash: '0', mac: 'canary-mac' });
    });
  }

  test('describes itself', () => {
    expect(plugin.name).toBe(name);
    expect(plugin.about).not.toBe('');
    expect(plugin.batchSize).toBeGreaterThan(0);
    expect(plugin.concurrency).toBeGreaterThan(0);
  });

  test('takes its settings and refuses one that it does not know', () => {
    const schema = plugin.settings(system.config);
    expect(schema.safeParse(subject.settings).success).toBe(true);
    expect(schema.safeParse({ ...subject.settings, colour: 'red' }).success).toBe(false);
  });

  test('delivers a whole batch', async () => {
    const batch = messages(Math.min(plugin.batchSize, 20));
    expect(await sink.deliver(batch, target(), never())).toEqual({ kind: 'delivered' });
    expect(await subject.ids()).toEqual(expect.arrayContaining(batch.map(({ id }) => id)));
  });

  test('tells a message twice under the same id, or once', async () => {
    const [message] = messages(1);
    for (let times = 0; times < 2; times += 1) {
      expect(await sink.deliver([message!], target(), never())).toEqual({ kind: 'delivered' });
    }
    const count = (await subject.ids()).filter((id) => id === message!.id).length;
    expect([1, 2]).toContain(count);
  });

  test('asks for a retry, with a stable reason, while its consumer is down', async () => {
    const { settings = subject.settings, env: extra = {} } = subject.down;
    const outcome = await open({ ...SOON, ...extra }).deliver(messages(1), target(settings), never());
    expect(outcome).toMatchObject({ kind: 'retry', reason: expect.stringMatching(REASON) });
    expect(inspect(outcome, { depth: 10 })).not.toContain('canary');
  });

  test('does not wait for a consumer that hangs, and ends when it is interrupted', async () => {
    if (subject.hung === undefined) return;
    const outcome = await open(SOON).deliver(messages(1), target(subject.hung), never());
    expect(outcome).toEqual({ kind: 'retry', reason: 'timed_out' });
    const controller = new AbortController();
    const call = sink.deliver(messages(1), target(subject.hung), controller.signal);
    controller.abort();
    expect(await call).toEqual({ kind: 'interrupted' });
  });
});
