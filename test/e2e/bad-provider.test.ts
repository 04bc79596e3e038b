import { beforeAll, describe, expect, test } from 'vitest';
import {
  goodReply,
  REPLIES,
  type StubProvider,
  type StubReply,
  startStubProvider,
} from '../../testkit/providers/stub-provider.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { acceptedId, type Keyturn, makeKeyturn, openWork, outcomeOf, stubAt } from './support.ts';

const env = testEnvironment();
let stub: StubProvider;
let keyturn: Keyturn;

beforeAll(async () => {
  stub = await startStubProvider();
  keyturn = await makeKeyturn({ ...env, ...stubAt(stub), KEYTURN_CALL_TIMEOUT_SECONDS: '4' });
  await Promise.all([keyturn.startApi(), keyturn.startWorkers()]);
  return () => stub.stop();
});

describe('a provider that misbehaves', () => {
  const exchange = (subject: string) => ({
    service: 'stub',
    subject,
    code: `code-of-${subject}`,
    codeVerifier: 'v'.repeat(43),
    redirectUri: `${keyturn.baseUrl}/v1/oauth/callback`,
    scopes: ['read'],
  });
  const exchangedAfter = async (subject: string, ...replies: StubReply[]) => {
    stub.script(...replies);
    return outcomeOf(keyturn, acceptedId(await keyturn.send('credential.exchange.requested', exchange(subject))));
  };
  const attempts = (subject: string) => stub.calls.filter(({ form }) => form.code === `code-of-${subject}`).length;

  test.each<[string, StubReply, string, RegExp]>([
    ['400 invalid_grant', REPLIES.invalidGrant, 'provider_rejected', /rejected/],
    ['200 with an error in it', REPLIES.okWithError, 'provider_rejected', /rejected/],
    ['400 without a reason', { status: 400, body: 'no' }, 'provider_rejected', /rejected/],
    ['fewer scopes', { body: { ...goodReply(1), scope: 'nothing' } }, 'scopes_missing', /consent again/],
  ])('%s: the event fails once, with a reason, and no credential is made', async (what, reply, code, advice) => {
    const subject = `no ${what}`;
    const event = await exchangedAfter(subject, reply);
    expect(event).toMatchObject({ status: 'failed', problem: { type: `https://keyturn.dev/problems/${code}` } });
    const problem = event.problem as { title: string; detail?: string };
    expect(`${problem.title} ${problem.detail ?? ''}`).toMatch(advice);
    expect(attempts(subject)).toBe(1);
    expect(await keyturn.credentials({ subject })).toEqual([]);
  });

  test('401 invalid_client: the event is parked for the operator, who is told which variables to check', async () => {
    const event = await exchangedAfter('misconfigured', REPLIES.invalidClient);
    expect(event).toMatchObject({
      status: 'parked',
      problem: { type: expect.stringMatching(/provider_misconfigured$/) },
    });
    expect((event.problem as { detail: string }).detail).toContain('KEYTURN_PROVIDER_STUB_CLIENT_SECRET');
  });

  test.each<[string, StubReply]>([
    ['503', REPLIES.unavailable],
    ['503 in HTML', REPLIES.html],
    ['429', { ...REPLIES.throttled, headers: { 'retry-after': '1' } }],
  ])('promise 9: %s is tried again, and then succeeds', async (what, reply) => {
    const subject = `later ${what}`;
    expect(await exchangedAfter(subject, reply)).toMatchObject({ status: 'succeeded' });
    expect(attempts(subject)).toBe(2);
    const [doc] = await keyturn.credentials({ subject });
    expect(doc).toMatchObject({ state: 'active', generation: 1, lease: null });
  });

  test.each<[string, StubReply]>([
    ['a reset connection', REPLIES.reset],
    ['no answer', REPLIES.hang],
  ])(
    'promise 4: %s may have spent the code: it is not sent twice, and the person is asked again',
    async (what, reply) => {
      const subject = `unknown ${what}`;
      const event = await exchangedAfter(subject, reply);
      expect(event).toMatchObject({
        status: 'failed',
        problem: { type: expect.stringMatching(/exchange_interrupted$/) },
      });
      expect((event.problem as { title: string }).title).toMatch(/consent again/);
      expect(attempts(subject)).toBe(1);
      expect(await keyturn.credentials({ subject })).toEqual([]);
    },
  );
});

test('nothing is left half done: no event is open, no lease is held, no code is kept in the clear', async () => {
  expect(await openWork(keyturn)).toEqual([]);
  expect(JSON.stringify(await keyturn.events())).not.toContain('code-of-');
});
