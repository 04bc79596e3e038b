import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openMaterial } from '../../../src/shared/keys/material.ts';
import type { IncidentDoc } from '../../../src/shared/store/compromise/incidents.ts';
import type { CredentialDoc } from '../../../src/shared/store/lifecycle/credentials.ts';
import { genericAlert, githubAlert } from '../../../testkit/messages/alerts.ts';
import { consentCode } from '../../../testkit/messages/consent.ts';
import { eventRequest } from '../../../testkit/messages/events.ts';
import { type AuthorizationServer, startAuthorizationServer } from '../../../testkit/servers/authorization-server.ts';
import { atIssuer, services } from '../../../testkit/services.ts';
import { testEnvironment } from '../../../testkit/system.ts';
import { until } from '../../../testkit/until.ts';
import { startApi, type TestApi } from '../../api/support.ts';

const env = testEnvironment({ KEYTURN_MAX_REVOCATIONS_PER_ALERT: '2' });
let server: AuthorizationServer;
let api: TestApi;
let source: { id: string; secret: string; path: string };

beforeAll(async () => {
  server = await startAuthorizationServer({ accessTokenTtlS: 600 });
  api = await startApi({ ...env, ...services({ acme: atIssuer(server) }) });
  await api.startWorkers();
  source = await newSource('generic');
});

afterAll(() => server.stop());

async function newSource(kind: string, key?: string) {
  const made = await api.call('POST', '/v1/alert-sources', {
    body: { source: kind, name: 'scanner' },
    ...(key !== undefined && { key }),
  });
  expect(made.status).toBe(201);
  const { id, secret, url } = made.body;
  return { id, secret, path: new URL(url).pathname };
}

async function connect(subject: string): Promise<CredentialDoc> {
  const code = await consentCode(server, { subject, provider: api.deps.providers.get('acme') });
  const before = await api.deps.database.collection('credentials').findOne({ subject });
  const sent = await api.call('POST', '/v1/events', eventRequest('credential.exchange.requested', code));
  await api.settledEvent(sent.body.results[0].eventId);
  return api.credential({ subject }, (doc) => doc.generation > (before?.generation ?? 0));
}

async function tokenOf(doc: CredentialDoc): Promise<string> {
  return (await openMaterial(api.deps, doc)).accessToken.reveal();
}

function report(leak: unknown, options?: Parameters<typeof genericAlert>[2]) {
  return api.call('POST', source.path, { key: null, ...genericAlert(source.secret, leak, options) });
}

function release(doc: CredentialDoc) {
  return api.call('GET', `/v1/credentials/${doc._id}/token`);
}

function incidentOf(doc: CredentialDoc, status: IncidentDoc['status']): Promise<IncidentDoc> {
  return until(() => api.deps.database.collection('incidents').findOne({ credentialId: doc._id, status }), {
    what: `an incident that is ${status}`,
  });
}

describe('a leaked token', () => {
  test('is not released after the answer, is dead at the provider, and a new consent brings a new one', async () => {
    const doc = await connect('ada');
    const token = await tokenOf(doc);
    expect((await release(doc)).status).toBe(200);
    const answer = await report({ token, type: 'acme_token', url: 'https://paste.example/x?secret=1' });
    expect(answer).toMatchObject({ status: 202, body: { results: [{ status: 'accepted' }] } });
    expect(await release(doc)).toMatchObject({ status: 409 });
    const incident = await incidentOf(doc, 'contained');
    expect(incident.steps.map(({ name, outcome }) => `${name} ${outcome}`)).toEqual([
      'release_blocked blocked',
      'revoked_at_provider revoked',
      'revocation_confirmed inactive',
      'replacement_requested asked_for_a_new_consent',
    ]);
    expect(incident.alert).toMatchObject({ source: 'generic', url: 'https://paste.example/x' });
    expect((await server.findToken(token))?.active ?? false).toBe(false);
    expect((await release(doc)).body.type).toMatch(/reauthorization_required$/);
    const renewed = await connect('ada');
    const released = await release(renewed);
    expect(released).toMatchObject({ status: 200, body: { generation: 2 } });
    expect(released.body.accessToken).not.toBe(token);

    await report({ token });
    const late = await until(() => api.deps.database.collection('events').findOne({ 'data.wasContained': true }), {
      what: 'the late alert',
    });
    await api.settledEvent(late._id);
    expect((await release(renewed)).status).toBe(200);
    expect(await api.deps.database.collection('incidents').countDocuments({ credentialId: doc._id })).toBe(1);
  });

  test('is one incident, however often and by whomever it is reported', async () => {
    const doc = await connect('bob');
    const token = await tokenOf(doc);
    const first = genericAlert(source.secret, { token });
    const send = () => api.call('POST', source.path, { key: null, ...first });
    const [one, two] = [await send(), await send()];
    expect(one.body.results[0].status).toBe('accepted');
    expect(two.body.results[0]).toMatchObject({ status: 'duplicate', eventId: one.body.results[0].eventId });
    await Promise.all([report({ token }), report({ credentialId: doc._id }), report({ token })]);
    await incidentOf(doc, 'contained');
    const open = () =>
      api.deps.database.collection('events').countDocuments({ credentialId: doc._id, settledAt: null });
    await until(async () => (await open()) === 0, { what: 'all alerts to be settled' });
    expect(await api.deps.database.collection('incidents').countDocuments({ credentialId: doc._id })).toBe(1);
    const types = ['alert.refused', 'alert.accepted', 'incident.opened', 'incident.contained'];
    const log = await api.call('GET', `/v1/audit?limit=200`);
    expect(log.body.items.map(({ type }: { type: string }) => type)).toEqual(expect.arrayContaining(types));
    expect(log.text).not.toContain(token);
  });

  test('of another tenant is not told apart from one that nobody knows, and nothing happens to it', async () => {
    const doc = await connect('cyd');
    const { key } = await api.otherTenant();
    const theirs = await newSource('generic', key);
    const send = async (leak: unknown) => {
      const answer = await api.call('POST', theirs.path, { key: null, ...genericAlert(theirs.secret, leak) });
      return { status: answer.status, body: answer.body };
    };
    const unknown = await send({ token: randomBytes(32).toString('base64url') });
    expect(unknown).toEqual({ status: 202, body: { results: [{ status: 'unmatched', eventId: null }] } });
    expect(await send({ token: await tokenOf(doc) })).toEqual(unknown);
    expect(await send({ credentialId: doc._id })).toEqual(unknown);
    expect(await send({ fingerprint: doc.fingerprints[0] })).toEqual(unknown);
    expect((await release(doc)).status).toBe(200);
  });

  test('of a false alarm is released again once a person says so', async () => {
    const doc = await connect('dan');
    const answer = await report({ token: await tokenOf(doc), confirmed: false });
    expect(answer.status).toBe(202);
    const suspected = await incidentOf(doc, 'waiting');
    expect(suspected.waitingFor).toBe('suspected');
    expect((await release(doc)).status).toBe(200);
    const resolved = await api.call('POST', `/v1/incidents/${suspected._id}/resolve`, {
      body: { resolution: 'false_alarm', note: 'a test' },
    });
    expect(resolved).toMatchObject({ status: 200, body: { status: 'resolved' } });
    expect(
      await api.call('POST', `/v1/incidents/${suspected._id}/resolve`, { body: { resolution: 'handled' } }),
    ).toMatchObject({
      status: 409,
    });
  });

  test('on a suspicion is contained once a person lets it go on', async () => {
    const doc = await connect('eve');
    const token = await tokenOf(doc);
    await report({ token, confirmed: false });
    const { _id } = await incidentOf(doc, 'waiting');
    const taken = await api.call('POST', `/v1/incidents/${_id}/acknowledge`, { body: { proceed: true } });
    expect(taken.body).toMatchObject({ acknowledged: { by: expect.stringMatching(/^prn_/) } });
    await incidentOf(doc, 'contained');
    expect((await server.findToken(token))?.active ?? false).toBe(false);
  });
});

describe('one alert with more leaks than may be revoked for by itself', () => {
  test('stops all their releases, revokes the first two, and says that the third waits; a false alarm gives it back', async () => {
    const docs = [await connect('cap1'), await connect('cap2'), await connect('cap3')];
    const tokens = await Promise.all(docs.map(tokenOf));
    expect((await report(tokens.map((token) => ({ token })))).status).toBe(202);
    expect(await Promise.all(docs.map(async (doc) => (await release(doc)).status))).toEqual([409, 409, 409]);
    const all = () =>
      api.deps.database
        .collection('incidents')
        .find({ credentialId: { $in: docs.map(({ _id }) => _id) }, status: { $ne: 'open' } })
        .toArray();
    const incidents = await until(async () => ((await all()).length === 3 ? all() : null), { what: 'three verdicts' });
    expect(incidents.map(({ status }) => status).sort()).toEqual(['contained', 'contained', 'waiting']);
    const waiting = incidents.find(({ status }) => status === 'waiting')!;
    expect(waiting.waitingFor).toBe('revocation_cap');
    const index = docs.findIndex(({ _id }) => _id === waiting.credentialId);
    expect((await server.findToken(tokens[index]!))?.active).toBe(true);
    const restore = await api.call('POST', `/v1/credentials/${waiting.credentialId}/restore`);
    expect(restore).toMatchObject({ status: 409, body: { detail: `It is blocked: incident ${waiting._id}.` } });
    await api.call('POST', `/v1/incidents/${waiting._id}/resolve`, { body: { resolution: 'false_alarm' } });
    expect((await release(docs[index]!)).status).toBe(200);
  });
});

describe('an alert that names no credential', () => {
  test('is a case for a person', async () => {
    const github = await newSource('github');
    const payload = {
      action: 'created',
      alert: { number: 42, secret_type: 'acme_token', html_url: 'https://github.com/octo/repo/security/42' },
      repository: { full_name: 'octo/repo' },
    };
    for (let round = 0; round < 2; round += 1) {
      const answer = await api.call('POST', github.path, { key: null, ...githubAlert(github.secret, payload) });
      expect(answer.body.results[0].status).toBe(round === 0 ? 'accepted' : 'duplicate');
    }
    const found = await until(
      () => api.deps.database.collection('incidents').findOne({ waitingFor: 'no_credential' }),
      {
        what: 'the case',
      },
    );
    expect(found).toMatchObject({ severity: 'critical', credentialId: null, key: 'alert:github:octo/repo#42' });
  });
});
