import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { recordFailure } from '../../../src/shared/credentials/refresh/outcome.ts';
import { fileFinding } from '../../../src/shared/incidents/case-file.ts';
import { createRespondJob } from '../../../src/shared/incidents/playbook/job.ts';
import { storeMaterial } from '../../../src/shared/keys/material.ts';
import { makeSemaphore } from '../../../src/shared/platform/concurrency/semaphore.ts';
import { AppError } from '../../../src/shared/platform/errors.ts';
import { Secret } from '../../../src/shared/platform/secret.ts';
import { makeMetrics } from '../../../src/shared/runtime/metrics.ts';
import { makeCommitter } from '../../../src/shared/store/commit.ts';
import { type IncidentDoc, STEPS } from '../../../src/shared/store/compromise/incidents.ts';
import { takeLeases } from '../../../src/shared/store/lease.ts';
import type { CredentialDoc } from '../../../src/shared/store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../../src/shared/work/job.ts';
import { openJournal } from '../../../src/shared/work/journal.ts';
import { startProcess } from '../../../testkit/processes/keyturn.ts';
import { type StubProvider, startStubProvider } from '../../../testkit/providers/stub-provider.ts';
import { atUrl, services, withoutEnd } from '../../../testkit/services.ts';
import { testEnvironment } from '../../../testkit/system.ts';
import { until } from '../../../testkit/until.ts';
import { startApi, type TestApi } from '../../api/support.ts';

const TENANT = `ten_${'0'.repeat(32)}`;
const NEVER = new AbortController().signal;

/** The provider says of a token that it is dead once it was revoked. */
const INACTIVE = { body: { active: false } };
const OK = { status: 200, body: '' };

let stub: StubProvider;
let api: TestApi;
let env: Record<string, string>;
let deps: WorkerDeps;
const base = testEnvironment({ KEYTURN_LEASE_SECONDS: '6' });

beforeAll(async () => {
  stub = await startStubProvider();
  env = { ...base, ...services({ acme: atUrl(stub.url), locked: withoutEnd(stub.url) }) };
  api = await startApi(env);
  const journal = openJournal(api.config.journalDir, 'wrk_test', api.deps.clock);
  const places = makeSemaphore(8);
  deps = { ...api.deps, journal, workerId: 'wrk_test', metrics: makeMetrics(), placesAt: () => places };
  afterAll(() => journal.close());
});

afterAll(() => stub.stop());

function answer(introspection: object = INACTIVE) {
  stub.always(({ path }) => (path === '/introspect' ? introspection : OK));
}

const revocations = () => stub.calls.filter(({ path }) => path === '/revoke').map(({ form }) => form.token);

async function leakOf(fields: Partial<CredentialDoc> & { token?: string } = {}) {
  const token = `token-${randomBytes(6).toString('hex')}`;
  const doc = await api.seed({ token, ...fields });
  const id = await fileFinding(deps, {
    rule: 'leaked-secret',
    finding: { severity: 'critical', confidence: 'confirmed', explanation: 'It was found outside.' },
    at: new Date(),
    tenantId: TENANT,
    credentialId: doc._id,
    principalId: null,
    alert: { id: `alert-${token}`, source: 'generic', kind: null, url: null, reference: token },
  });
  return { doc, token, id: id as string };
}

async function read(id: string): Promise<IncidentDoc> {
  return (await api.deps.database.collection('incidents').findOne({ _id: id }))!;
}

async function credential(doc: CredentialDoc): Promise<CredentialDoc> {
  return (await api.deps.database.collection('credentials').findOne({ _id: doc._id }))!;
}

const run = (id: string, own: WorkerDeps = deps) => createRespondJob(own).process({ ids: [id], reason: 'test' }, NEVER);

describe('a containment', () => {
  test.each(STEPS)('that dies right before it records %s goes on from there, and does no step twice', async (step) => {
    answer();
    const { doc, id, token } = await leakOf();
    const commit: WorkerDeps['commit'] = async (change) => {
      if (change.entries.some(({ type }) => type === `incident.${step}`)) throw new Error('the process died');
      return deps.commit(change);
    };
    await run(id, { ...deps, commit });
    const broken = await read(id);
    expect(broken.status).toBe('open');
    expect(broken.steps.map(({ name }) => name)).toEqual(STEPS.slice(0, STEPS.indexOf(step)));
    await run(id);
    expect(await read(id)).toMatchObject({ status: 'contained', steps: STEPS.map((name) => ({ name })) });
    expect(await credential(doc)).toMatchObject({ state: 'reauthorization_required', lease: null, fingerprints: [] });
    const entries = await api.call('GET', `/v1/audit?credentialId=${doc._id}&limit=200`);
    const types = entries.body.items.map(({ type }: { type: string }) => type);
    for (const name of STEPS) expect(types.filter((type: string) => type === `incident.${name}`)).toHaveLength(1);
    expect(types.filter((type: string) => type === 'credential.quarantined')).toHaveLength(1);
    expect(revocations()).toContain(`refresh-${token}`);
  });

  test('goes on in another process after kill -9 while the provider was being told', async () => {
    stub.always({ fate: 'hang' });
    const { doc, id } = await leakOf();
    const first = await startProcess('workers', { ...env, KEYTURN_LOG_LEVEL: 'info', KEYTURN_QUEUES: 'respond,sweep' });
    const before = revocations().length;
    await until(() => revocations().length > before, { what: 'the call to the provider' });
    expect((await api.call('GET', `/v1/credentials/${doc._id}/token`)).status).toBe(409);
    await first.kill9();
    expect((await read(id)).steps.map(({ name }) => name)).toEqual(['release_blocked']);
    answer();
    const second = await startProcess('workers', {
      ...env,
      KEYTURN_LOG_LEVEL: 'info',
      KEYTURN_QUEUES: 'respond,sweep',
    });
    await until(async () => (await read(id)).status === 'contained', { what: 'containment' });
    await second.sigterm();
  });

  test('run by many workers at once is done once', async () => {
    answer();
    const { id, doc } = await leakOf();
    await Promise.all(Array.from({ length: 5 }, () => run(id)));
    await until(async () => (await read(id)).status !== 'open' || (await run(id)), { what: 'containment' });
    await until(async () => (await read(id)).status === 'contained', { what: 'containment' });
    const entries = await api.call('GET', `/v1/audit?credentialId=${doc._id}&type=incident.contained`);
    expect(entries.body.items).toHaveLength(1);
  });

  test('waits for a refresh that is under way, and revokes what it brings; the release is stopped meanwhile', async () => {
    answer();
    const { id, doc, token } = await leakOf();
    const credentials = api.deps.database.collection('credentials');
    const lease = { ids: [doc._id], holder: 'wrk_other/1', purpose: 'refresh', leaseMs: 30_000 };
    await takeLeases(api.deps.database, 'credentials', lease);
    const work = run(id);
    await until(async () => (await credential(doc)).state === 'quarantined', { what: 'the block' });
    const material = { accessToken: new Secret(`new-${token}`), refreshToken: new Secret(`new-refresh-${token}`) };
    const secret = await storeMaterial(api.deps, doc, 2, material);
    await credentials.updateOne({ _id: doc._id }, { $set: { secret, generation: 2, lease: null } });
    await work;
    expect((await read(id)).status).toBe('contained');
    expect(revocations()).toContain(`new-refresh-${token}`);
    expect(revocations()).not.toContain(`refresh-${token}`);
  });
});

describe('a containment that cannot go on by itself says why', () => {
  test('when the provider still takes the token', async () => {
    answer({ body: { active: true } });
    const { id } = await leakOf();
    const isWaiting = async () => {
      await run(id);
      return (await read(id)).status === 'waiting';
    };
    await until(isWaiting, { what: 'the wait' });
    expect((await read(id)).waitingFor).toBe('still_active');
    answer();
    await api.call('POST', `/v1/incidents/${id}/acknowledge`, { body: { proceed: true } });
    await run(id);
    expect((await read(id)).status).toBe('contained');
  });

  test('when the provider has no revocation: release stays stopped until a person has seen to it', async () => {
    answer();
    const { id, doc } = await leakOf({ service: 'locked' });
    await run(id);
    expect(await read(id)).toMatchObject({ status: 'waiting', waitingFor: 'provider_cannot_revoke' });
    expect((await credential(doc)).state).toBe('quarantined');
    await api.call('POST', `/v1/incidents/${id}/acknowledge`, { body: { proceed: true } });
    await run(id);
    expect((await read(id)).steps.map(({ outcome }) => outcome)).toContain('by_a_person');
    expect((await credential(doc)).state).toBe('reauthorization_required');
  });

  test('when a new consent was faster: what is there now did not leak', async () => {
    answer();
    const { id, doc } = await leakOf();
    const commit: WorkerDeps['commit'] = async (change) => {
      const outcome = await deps.commit(change);
      if (change.entries.some(({ type }) => type === 'incident.release_blocked')) {
        const renewed = { state: 'active' as const, blocked: null, generation: 2 };
        await api.deps.database.collection('credentials').updateOne({ _id: doc._id }, { $set: renewed });
      }
      return outcome;
    };
    await run(id, { ...deps, commit });
    expect(await read(id)).toMatchObject({ status: 'waiting', waitingFor: 'replaced_meanwhile' });
    expect((await credential(doc)).state).toBe('active');
  });

  test('an outage of the provider is none of these: it is tried again', async () => {
    stub.always({ status: 503, body: {} });
    const { id } = await leakOf();
    await run(id);
    expect(await read(id)).toMatchObject({ status: 'open', dueAt: expect.any(Date) });
    answer();
    await run(id);
    await until(async () => (await read(id)).status === 'contained' || (await run(id)), { what: 'containment' });
  });
});

test('a later compromise of the new secret is a new incident', async () => {
  answer();
  const { id, doc, token } = await leakOf();
  await run(id);
  const owner = { _id: doc._id, tenantId: TENANT };
  const secret = await storeMaterial(api.deps, owner, 2, { accessToken: new Secret(`second-${token}`) });
  const renewed = { state: 'active' as const, blocked: null, generation: 2, secret };
  await api.deps.database.collection('credentials').updateOne({ _id: doc._id }, { $set: renewed });
  const second = await fileFinding(deps, {
    rule: 'leaked-secret',
    finding: { severity: 'critical', confidence: 'confirmed', explanation: 'It was found outside again.' },
    at: new Date(),
    tenantId: TENANT,
    credentialId: doc._id,
    principalId: null,
    alert: null,
  });
  expect(second).not.toBe(id);
  await run(second as string);
  expect(await credential(doc)).toMatchObject({ state: 'reauthorization_required' });
  expect((await read(second as string)).status).toBe('contained');
});

test('a failed refresh does not undo a quarantine', async () => {
  const doc = await api.seed();
  await api.call('POST', `/v1/credentials/${doc._id}/quarantine`);
  await recordFailure(deps, doc, new AppError('provider_unavailable'), NEVER);
  expect((await credential(doc)).state).toBe('quarantined');
});

test('the group commit of many containments is as good as one', async () => {
  answer();
  const leaks = await Promise.all(Array.from({ length: 10 }, () => leakOf()));
  const { commit } = makeCommitter(api.deps.database, { maxConcurrent: 1 });
  await createRespondJob({ ...deps, commit }).process({ ids: leaks.map(({ id }) => id), reason: 'test' }, NEVER);
  const states = await Promise.all(leaks.map(async ({ id }) => (await read(id)).status));
  expect(new Set(states)).toEqual(new Set(['contained']));
});

describe('a leaked secret that a rotator takes', () => {
  const leak = () => leakOf({ kind: 'password', metadata: { rotator: 'redis-acl' }, hasRefreshToken: false });
  const requestOf = (id: string) => api.deps.database.collection('events').findOne({ principalId: id });

  test('is rotated without overlap, and released again once the old one is retired', async () => {
    const { id, doc, token } = await leak();
    await run(id);
    await run(id);
    expect(await api.deps.database.collection('events').countDocuments({ principalId: id })).toBe(1);
    const request = await requestOf(id);
    expect(request).toMatchObject({ type: 'credential.rotation.requested', data: { overlapSeconds: 0 } });
    expect((await credential(doc)).state).toBe('quarantined');
    const secret = await storeMaterial(api.deps, doc, 2, { accessToken: new Secret(`rotated-${token}`) });
    const fingerprints = ['v1.new', ...doc.fingerprints];
    const rotated = { secret, generation: 2, fingerprints, secretChangedAt: new Date() };
    await api.deps.database.collection('credentials').updateOne({ _id: doc._id }, { $set: rotated });
    await run(id);
    expect(await read(id)).toMatchObject({ status: 'contained', fingerprints: doc.fingerprints });
    expect(await credential(doc)).toMatchObject({ state: 'active', blocked: null, fingerprints: ['v1.new'] });
    const released = await api.call('GET', `/v1/credentials/${doc._id}/token`);
    expect(released.body.accessToken).toBe(`rotated-${token}`);
  });

  test('stays stopped and waits for a person when the rotation was given up', async () => {
    const { id, doc } = await leak();
    await run(id);
    const request = await requestOf(id);
    await api.deps.database.collection('events').updateOne({ _id: request!._id }, { $set: { status: 'parked' } });
    await run(id);
    expect(await read(id)).toMatchObject({ status: 'waiting', waitingFor: 'provider_cannot_revoke' });
    expect((await credential(doc)).state).toBe('quarantined');
  });
});
