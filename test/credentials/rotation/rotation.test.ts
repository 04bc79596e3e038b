import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openStored } from '../../../src/shared/keys/material.ts';
import { fileEvent, sendEvent } from '../../../testkit/messages/events.ts';
import { registerClient } from '../../../testkit/providers/oauth-client.ts';
import { ROTATOR_SUBJECTS, type RotatorSubject } from '../../../testkit/providers/rotator-subjects.ts';
import { startSystem, type TestSystem, testEnvironment } from '../../../testkit/system.ts';
import { until } from '../../../testkit/until.ts';
import {
  entriesOf,
  importOne,
  importSubject,
  released,
  requestRotation,
  rotationEntries,
  SERVICE,
  WELL,
} from './support.ts';

const env = testEnvironment({ ...SERVICE, KEYTURN_CALL_TIMEOUT_SECONDS: '5' });
const subjects: Record<string, RotatorSubject> = {};
let system: TestSystem;

beforeAll(async () => {
  for (const [name, open] of Object.entries(ROTATOR_SUBJECTS)) subjects[name] = await open();
  system = await startSystem(env);
  await system.startWorkers();
});

afterAll(async () => {
  await system.stop();
  await Promise.all(Object.values(subjects).map((subject) => subject.stop()));
});

/** A subject of its own, for a test that leaves it changed. */
async function opened(name: string): Promise<RotatorSubject> {
  const subject = await ROTATOR_SUBJECTS[name]!();
  afterAll(() => subject.stop());
  return subject;
}

/** The rotation is over, and its worker has let go of the credential, which it does right after the last commit. */
const ended = (id: string) =>
  system.credential({ _id: id }, ({ rotation, lease }) => rotation === null && lease === null);

describe.each(Object.keys(ROTATOR_SUBJECTS))('%s', (name) => {
  test('promise 5: the new secret is good before it is released, and the old one ends after the overlap', async () => {
    const subject = await opened(name);
    const { _id } = await importSubject(system, subject);
    const old = await released(system, _id);
    const event = await system.settledEvent(await requestRotation(system, _id));
    expect(event).toMatchObject({ status: 'succeeded', problem: null });
    const next = await released(system, _id);
    expect(next.doc.generation).toBe(2);
    expect(next.secret).not.toBe(old.secret);
    expect(await subject.authenticates(next.secret, next.metadata)).toBe(true);
    const doc = await ended(_id);
    expect(doc).toMatchObject({ state: 'active', lease: null, due: { validate: expect.any(Date) } });
    expect(doc.due.rotate).toBeUndefined();
    expect(await subject.authenticates(old.secret, old.metadata)).toBe(false);
    expect(await subject.authenticates(next.secret, next.metadata)).toBe(true);
    expect(await rotationEntries(system, _id)).toEqual(WELL);
  });

  test('both secrets are good during the overlap, and both are found by their fingerprint', async () => {
    const subject = await opened(name);
    const { _id } = await importSubject(system, subject, { overlapSeconds: 600 });
    const old = await released(system, _id);
    await system.settledEvent(await requestRotation(system, _id));
    const next = await released(system, _id);
    expect(next.doc.rotation).toMatchObject({ step: 'promoted', pending: null, previous: expect.any(Object) });
    expect(next.doc.due.rotate).toEqual(next.doc.rotation?.retireAt);
    for (const { secret, metadata } of [old, next]) {
      expect(await subject.authenticates(secret, metadata)).toBe(true);
      expect(next.doc.fingerprints).toContain(await system.deps.sealer.fingerprint('ten_a', secret));
    }
  });

  test('a request after a leak ends the overlap before, then rotates again and ends the leaked secret at once', async () => {
    const subject = await opened(name);
    const { _id } = await importSubject(system, subject, { overlapSeconds: 600 });
    const first = await released(system, _id);
    await system.settledEvent(await requestRotation(system, _id));
    const leaked = await released(system, _id);
    const event = await system.settledEvent(await requestRotation(system, _id, { overlapSeconds: 0 }));
    expect(event.status).toBe('succeeded');
    await ended(_id);
    const next = await released(system, _id);
    expect(next.doc.generation).toBe(3);
    for (const { secret, metadata } of [first, leaked]) {
      expect(await subject.authenticates(secret, metadata)).toBe(false);
    }
    expect(await subject.authenticates(next.secret, next.metadata)).toBe(true);
  });

  test('a policy of rotation needs nobody to ask', async () => {
    const subject = await opened(name);
    const { _id } = await importSubject(system, subject, { rotateEveryDays: 1 / 86_400, overlapSeconds: 0 });
    const doc = await system.credential({ _id }, ({ generation }) => generation >= 3);
    expect(doc.policy.rotateEveryMs).toBe(1_000);
    const planned = (await entriesOf(system, _id)).filter(({ type }) => type === 'credential.rotation_planned');
    expect(planned[0]).toMatchObject({ detail: { cause: 'policy' }, actor: { kind: 'worker' } });
    await sendEvent(system.deps, 'credential.revocation.requested', { credentialId: _id });
  });

  test('while the other side is down nothing is lost: the old secret is good, and the rotation goes on after it', async () => {
    const subject = await opened(name);
    const { _id } = await importSubject(system, subject);
    const old = await released(system, _id);
    await subject.proxy.down();
    const eventId = await requestRotation(system, _id);
    await until(async () => (await rotationEntries(system, _id)).includes('credential.rotation_failed'), {
      what: 'the failure on the record',
    });
    expect(await subject.authenticates(old.secret, old.metadata)).toBe(true);
    await subject.proxy.up();
    expect(await system.settledEvent(eventId)).toMatchObject({ status: 'succeeded' });
    await ended(_id);
    const failed = (await entriesOf(system, _id)).find(({ type }) => type === 'credential.rotation_failed');
    expect(failed).toMatchObject({ outcome: 'failure', reason: 'provider_unavailable', eventId });
  });

  test('a revocation during the overlap ends both secrets at the other side', async () => {
    const subject = await opened(name);
    const { _id } = await importSubject(system, subject, { overlapSeconds: 600 });
    const old = await released(system, _id);
    await system.settledEvent(await requestRotation(system, _id));
    const next = await released(system, _id);
    const eventId = await sendEvent(system.deps, 'credential.revocation.requested', { credentialId: _id });
    expect(await system.settledEvent(eventId)).toMatchObject({ status: 'succeeded' });
    expect(await ended(_id)).toMatchObject({ state: 'revoked', due: {} });
    for (const { secret, metadata } of [old, next]) {
      expect(await subject.authenticates(secret, metadata)).toBe(false);
    }
  });

  test('a quarantined credential is rotated and stays quarantined', async () => {
    const subject = await opened(name);
    const { _id } = await importSubject(system, subject);
    const set = { state: 'quarantined' as const, blocked: { reason: 'incident', at: new Date() } };
    await system.deps.database.collection('credentials').updateOne({ _id }, { $set: set });
    expect(await system.settledEvent(await requestRotation(system, _id))).toMatchObject({ status: 'succeeded' });
    expect(await ended(_id)).toMatchObject({ state: 'quarantined', generation: 2, blocked: { reason: 'incident' } });
  });

  test('promise 10: another tenant cannot ask for it', async () => {
    const { _id } = await importSubject(system, subjects[name]!);
    const data = { credentialId: _id };
    expect(await fileEvent(system.deps, 'credential.rotation.requested', data, 'ten_b')).toMatchObject({
      status: 'rejected',
      problem: { code: 'not_found' },
    });
  });

  test('promise 1: the pending secret is sealed before it is applied, and neither is in any entry', async () => {
    const subject = await opened(name);
    const { _id } = await importSubject(system, subject, { overlapSeconds: 600 });
    await system.settledEvent(await requestRotation(system, _id));
    const { secret, doc } = await released(system, _id);
    const previous = await openStored(system.deps, doc, doc.rotation!.previous!, doc.rotation!.generation);
    const text = JSON.stringify([doc, await entriesOf(system, _id)]);
    for (const value of [secret, previous.accessToken.reveal()]) expect(text).not.toContain(value);
  });
});

describe('a new secret that is not accepted', () => {
  test('is replaced, and after some the rotation is given up, parked, and cleared away; the old one is still good', async () => {
    const subject = await opened('redis-acl');
    const { _id } = await importSubject(system, subject);
    const old = await released(system, _id);
    await subject.refuseAll!(true);
    const event = await system.settledEvent(await requestRotation(system, _id));
    expect(event).toMatchObject({ status: 'parked', problem: { code: 'rotation_given_up' } });
    await subject.refuseAll!(false);
    const doc = await ended(_id);
    expect(doc).toMatchObject({ state: 'active', generation: 1 });
    expect(await subject.goodSecrets()).toBe(1);
    expect(await subject.authenticates(old.secret, old.metadata)).toBe(true);
    const types = await rotationEntries(system, _id);
    expect(types.filter((type) => type === 'credential.rotation_minted')).toHaveLength(3);
    expect(types.filter((type) => type === 'credential.rotation_discarded')).toHaveLength(3);
    expect(types.at(-1)).toBe('credential.rotation_discarded');
    expect(types).toContain('credential.rotation_given_up');
  });
});

describe('what cannot be rotated is refused with a reason, and harms nothing', () => {
  test('a credential that no rotator takes', async () => {
    const { _id } = await importOne(system, { subject: 'plain', accessToken: 'key-1', kind: 'api_key' });
    const event = await system.settledEvent(await requestRotation(system, _id));
    expect(event).toMatchObject({ status: 'failed', problem: { code: 'provider_unsupported' } });
    expect(event.problem?.detail).toContain('redis-acl');
  });

  test('a client that people have consented to', async () => {
    const { credential } = subjects['oauth-client-secret']!;
    const base = new URL(credential.metadata.token_url!).origin;
    const client = await registerClient(base, { redirect_uris: ['https://app.example/cb'] });
    const { _id } = await importOne(system, {
      subject: 'consented',
      kind: 'client_secret',
      accessToken: client.client_secret,
      registrationAccessToken: client.registration_access_token,
      metadata: {
        ...credential.metadata,
        client_id: client.client_id,
        registration_client_uri: client.registration_client_uri,
      },
    });
    const event = await system.settledEvent(await requestRotation(system, _id));
    expect(event).toMatchObject({ status: 'parked', problem: { code: 'rotation_given_up' } });
    expect(event.problem?.detail).toContain('provider_unsupported');
    expect(await ended(_id)).toMatchObject({ state: 'active', generation: 1 });
  });

  test('promise 10: an admin credential of another tenant or service is not used', async () => {
    const subject = await opened('redis-acl');
    const elsewhere = await importOne(system, { ...subject.admin!, service: 'other', subject: 'admin-elsewhere' });
    const { _id } = await importOne(system, {
      ...subject.credential,
      subject: 'reaching',
      metadata: { ...subject.credential.metadata, admin_credential_id: elsewhere._id },
    });
    for (const change of [{ service: 'other' }, { service: 'acme', tenantId: 'ten_b' }]) {
      await system.deps.database.collection('credentials').updateOne({ _id: elsewhere._id }, { $set: change });
      const event = await system.settledEvent(await requestRotation(system, _id));
      expect(event).toMatchObject({ status: 'parked', problem: { code: 'rotation_given_up' } });
      expect(event.problem?.detail).toContain('provider_misconfigured');
    }
    expect(await subject.goodSecrets()).toBe(1);
  });
});
