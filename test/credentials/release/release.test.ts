import { describe, expect, test } from 'vitest';
import { storeMaterial } from '../../../src/shared/keys/material.ts';
import { Secret } from '../../../src/shared/platform/secret.ts';
import type { CredentialDoc } from '../../../src/shared/store/lifecycle/credentials.ts';
import { testEnvironment } from '../../../testkit/system.ts';
import { until } from '../../../testkit/until.ts';
import { ACME, expectProblem, startApi } from '../../api/support.ts';

const api = await startApi({ ...testEnvironment(), ...ACME });
const credentials = () => api.deps.database.collection('credentials');

const release = (id: string, key?: string) => api.call('GET', `/v1/credentials/${id}/token`, key ? { key } : {});

const accesses = async (credentialId: string) =>
  (await api.call('GET', `/v1/audit?type=credential.accessed&credentialId=${credentialId}`)).body.items;

/** Does by hand what the refresh worker does. */
async function refreshByHand(doc: CredentialDoc, token: string): Promise<void> {
  const generation = doc.generation + 1;
  const secret = await storeMaterial(api.deps, doc, generation, { accessToken: new Secret(token) });
  const now = Date.now();
  const set = { generation, secret, secretChangedAt: new Date(now), expiresAt: new Date(now + 60_000) };
  await credentials().updateOne({ _id: doc._id }, { $set: set });
}

const expired = () => ({ expiresAt: new Date(Date.now() - 1_000), secretChangedAt: new Date(Date.now() - 60_000) });
const demanded = () =>
  until(async () => (await api.deps.hints.waiting('refresh')) > 0, { what: 'a hint for the refresh queue' });

describe('the release of a token', () => {
  test('promise 6: hands out the token, not to be stored, with the access on the record first', async () => {
    const doc = await api.seed({ token: 'tok-good' });
    const answer = await release(doc._id);
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      accessToken: 'tok-good',
      tokenType: 'Bearer',
      expiresAt: doc.expiresAt?.toISOString(),
      scopes: ['read'],
      generation: 1,
      service: 'acme',
      subject: doc.subject,
      metadata: doc.metadata,
    });
    expect(answer.headers).toMatchObject({ 'cache-control': 'no-store', etag: `"${doc._id}.1"` });
    expect(await accesses(doc._id)).toMatchObject([
      { outcome: 'success', actor: { kind: 'principal', ip: '127.0.0.1' }, detail: { generation: 1 } },
    ]);
  });

  test('50 callers of an expired token cause one hint and get the new token', async () => {
    const doc = await api.seed(expired());
    const answers = Promise.all(Array.from({ length: 50 }, () => release(doc._id)));
    await demanded();
    expect(await api.deps.hints.waiting('refresh')).toBe(1);
    await refreshByHand(doc, 'tok-2');
    for (const { status, body } of await answers) {
      expect({ status, token: body.accessToken }).toEqual({ status: 200, token: 'tok-2' });
    }
    expect(await accesses(doc._id)).toHaveLength(50);
  });

  test('a quarantine by anyone stops the very next release', async () => {
    const doc = await api.seed();
    expect((await release(doc._id)).status).toBe(200);
    await credentials().updateOne({ _id: doc._id }, { $set: { state: 'quarantined' } });
    expectProblem(await release(doc._id), 409, 'credential_blocked');
  });

  test('an API key without expiry is released as it is', async () => {
    const doc = await api.seed({ kind: 'api_key', expiresAt: null, hasRefreshToken: false, token: 'key-1' });
    expect((await release(doc._id)).body).toMatchObject({ accessToken: 'key-1', expiresAt: null });
  });
});

describe('the refusal of a token', () => {
  test.each([
    ['pending', 'credential_pending', 'failure'],
    ['reauthorization_required', 'reauthorization_required', 'denied'],
    ['quarantined', 'credential_blocked', 'denied'],
    ['expired', 'credential_blocked', 'denied'],
    ['revoked', 'credential_blocked', 'denied'],
    ['destroyed', 'credential_blocked', 'denied'],
  ] as const)('a credential that is %s is not released: %s, on the record', async (state, code, outcome) => {
    const doc = await api.seed({ state });
    expectProblem(await release(doc._id), 409, code);
    expect(await accesses(doc._id)).toMatchObject([{ outcome, reason: code }]);
  });

  test('a blocked credential and an expired one that cannot be refreshed are not released', async () => {
    const blocked = await api.seed({ blocked: { reason: 'revocation', at: new Date() } });
    expectProblem(await release(blocked._id), 409, 'credential_blocked');
    const dead = await api.seed({ ...expired(), hasRefreshToken: false });
    expectProblem(await release(dead._id), 409, 'credential_blocked');
  });

  test('promise 6: a principal without the permission is refused, on the record', async () => {
    const doc = await api.seed();
    expectProblem(await release(doc._id, await api.keyWith('acme:read', 'figma:*')), 403, 'permission_denied');
    expect(await accesses(doc._id)).toMatchObject([{ outcome: 'denied', reason: 'permission_denied' }]);
  });

  test("promise 10: another tenant's credential is indistinguishable from one that does not exist, in one grouped read too", async () => {
    const doc = await api.seed();
    const { key } = await api.otherTenant();
    const [ours, theirs, absent] = await Promise.all([
      release(doc._id),
      release(doc._id, key),
      release('cred_none', key),
    ]);
    expect(ours.status).toBe(200);
    expectProblem(theirs, 404, 'not_found');
    expect(theirs.text.replace(doc._id, '')).toBe(absent.text.replace('cred_none', ''));
  });

  test('while the provider has its pause after a failure nobody is made to wait, and nothing is asked', async () => {
    const before = await api.deps.hints.waiting('refresh');
    const lastError = { code: 'provider_unavailable' as const, at: new Date() };
    const doc = await api.seed({
      ...expired(),
      failures: 3,
      lastError,
      due: { refresh: new Date(Date.now() + 20_000) },
    });
    const answer = await release(doc._id);
    expectProblem(answer, 503, 'refresh_pending');
    expect(Number(answer.headers['retry-after'])).toBeGreaterThanOrEqual(19);
    expect(await api.deps.hints.waiting('refresh')).toBe(before);
  });

  test('a refresh that fails or ends the grant meanwhile is told at once', async () => {
    const failing = await api.seed(expired());
    const dying = await api.seed(expired());
    const answers = Promise.all([release(failing._id), release(dying._id)]);
    await demanded();
    const lastError = { code: 'provider_unavailable' as const, at: new Date() };
    const due = { refresh: new Date(Date.now() + 5_000) };
    await credentials().updateOne({ _id: failing._id }, { $set: { failures: 1, lastError, due } });
    await credentials().updateOne({ _id: dying._id }, { $set: { state: 'reauthorization_required' } });
    const [failed, dead] = await answers;
    expectProblem(failed, 503, 'refresh_pending');
    expectProblem(dead, 409, 'reauthorization_required');
  });

  test('promise 1: a sealed value of another credential does not open, and nothing of it is shown', async () => {
    const victim = await api.seed({ token: 'CANARY-stolen' });
    const doc = await api.seed({ secret: victim.secret });
    expectProblem(await release(doc._id), 500, 'secret_unreadable');
    expect(await accesses(doc._id)).toMatchObject([{ outcome: 'failure', reason: 'secret_unreadable' }]);
  });
});
