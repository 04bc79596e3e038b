import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeGithubKeys } from '../../../src/shared/incidents/alerts/sources/github-keys.ts';
import { isHubSignature, isSignedBy } from '../../../src/shared/incidents/alerts/sources/plugins/github.ts';
import { Secret } from '../../../src/shared/platform/secret.ts';
import {
  genericAlert,
  githubAlert,
  type PartnerStub,
  type SignedRequest,
  startPartner,
} from '../../../testkit/messages/alerts.ts';
import { testEnvironment } from '../../../testkit/system.ts';
import { startApi, type TestApi } from '../support.ts';

const vectors = JSON.parse(readFileSync(new URL('../../vectors/signatures.json', import.meta.url), 'utf8'));

type PartnerVector = { keyId: string; spkiB64: string; body: string; sig: string };

function pemOf({ spkiB64 }: PartnerVector): string {
  return `-----BEGIN PUBLIC KEY-----\n${spkiB64}\n-----END PUBLIC KEY-----\n`;
}

const LEAKED = 'canary-leaked-5b1f09';
const env = testEnvironment();
let partner: PartnerStub;
let api: TestApi;
const sources: Record<string, { id: string; secret: string; path: string }> = {};

beforeAll(async () => {
  partner = await startPartner();
  for (const vector of vectors.githubPartner as PartnerVector[]) partner.publish(vector.keyId, pemOf(vector));
  api = await startApi({ ...env, KEYTURN_GITHUB_PARTNER_KEYS_URL: partner.url });
  for (const source of ['github', 'generic']) {
    const made = await api.call('POST', '/v1/alert-sources', { body: { source, name: 'scanner' } });
    sources[source] = { id: made.body.id, secret: made.body.secret, path: new URL(made.body.url).pathname };
  }
});

afterAll(() => partner.stop());

function send(path: string, request: SignedRequest) {
  return api.call('POST', path, { key: null, ...request });
}

async function refusalsOf(reason: string): Promise<Record<string, unknown>[]> {
  const log = await api.call('GET', '/v1/audit?type=alert.refused&limit=200');
  return log.body.items.filter((entry: { reason: string }) => entry.reason === reason);
}

async function seedToken(token: string, tenantId?: string) {
  const owner = tenantId ?? `ten_${'0'.repeat(32)}`;
  const fingerprints = [await api.deps.sealer.fingerprint(owner, token)];
  return api.seed({ token, fingerprints, ...(tenantId && { tenantId }) });
}

describe('a documented signature of GitHub', () => {
  test('of the webhook holds, and not for another body or secret', () => {
    const { secret, body, sig } = vectors.githubHub256;
    expect(isHubSignature([new Secret(secret)], Buffer.from(body), sig)).toBe(true);
    expect(isHubSignature([new Secret(secret)], Buffer.from(`${body} `), sig)).toBe(false);
    expect(isHubSignature([new Secret(`${secret} `)], Buffer.from(body), sig)).toBe(false);
    expect(isHubSignature([], Buffer.from(body), sig)).toBe(false);
  });

  test.each(vectors.githubPartner as PartnerVector[])('of the partner programme holds ($keyId)', async (vector) => {
    expect(isSignedBy(pemOf(vector), Buffer.from(vector.body), vector.sig)).toBe(true);
    expect(isSignedBy(pemOf(vector), Buffer.from(`${vector.body} `), vector.sig)).toBe(false);
    expect(isSignedBy(pemOf(vector), Buffer.from(vector.body), 'AAAA')).toBe(false);
    expect(isSignedBy('no key', Buffer.from(vector.body), vector.sig)).toBe(false);
    const headers = {
      'content-type': 'application/json',
      'github-public-key-identifier': vector.keyId,
      'github-public-key-signature': vector.sig,
    };
    const answer = await send('/v1/alerts/github', { body: vector.body, headers });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual([
      { token_hash: expect.stringMatching(/^[0-9a-f]{64}$/), token_type: 'some_type', label: 'false_positive' },
    ]);
  });
});

describe('the partner programme', () => {
  test('finds a token in whatever tenant, stops its release at once, and says only that it is one', async () => {
    const { tenantId, key } = await api.otherTenant();
    const doc = await seedToken(`${LEAKED}-partner`, tenantId);
    const request = partner.sign([
      { token: `${LEAKED}-partner`, type: 'acme', url: 'https://github.com/o/r', source: 'commit' },
      { token: 'nobody-knows-it', type: 'acme', url: '', source: 'commit' },
    ]);
    const first = await send('/v1/alerts/github', request);
    expect(first.body.map(({ label }: { label: string }) => label)).toEqual(['true_positive', 'false_positive']);
    expect(first.text).not.toContain(LEAKED);
    expect(await api.call('GET', `/v1/credentials/${doc._id}/token`, { key })).toMatchObject({ status: 409 });
    const again = await send('/v1/alerts/github', request);
    expect(again.body).toEqual(first.body);
    expect(await api.deps.database.collection('events').countDocuments({ credentialId: doc._id })).toBe(1);
  });

  test('refuses a key that is not published, and asks for the keys no more than once a minute', async () => {
    const before = partner.fetched();
    for (let round = 0; round < 3; round += 1) {
      const answer = await send('/v1/alerts/github', partner.sign([], 'b'.repeat(64)));
      expect(answer.status).toBe(401);
    }
    expect(partner.fetched() - before).toBeLessThanOrEqual(1);
    expect((await refusalsOf('unknown_key')).length).toBe(3);
  });

  test('fetches keys anew when an id is new and the last time is long ago; keeps the old ones when it cannot', async () => {
    let now = 0;
    const own = await startPartner();
    const keys = makeGithubKeys(own.url, { now: () => now });
    expect(await keys.find('c'.repeat(64))).toBeNull();
    own.publish('c'.repeat(64), 'PEM');
    expect(await keys.find('c'.repeat(64))).toBeNull();
    now += 61_000;
    expect(await keys.find('c'.repeat(64))).toBe('PEM');
    await own.stop();
    now += 2 * 24 * 60 * 60_000;
    expect(await keys.find('c'.repeat(64))).toBe('PEM');
    await expect(keys.find('d'.repeat(64))).rejects.toMatchObject({ internal: 'keys_unavailable' });
  });
});

describe('a delivery that is not as it should be is refused, recorded, and does nothing', () => {
  const good = () => genericAlert(sources.generic!.secret, { token: `${LEAKED}-generic` });
  const hub = () =>
    githubAlert(sources.github!.secret, { action: 'created', alert: { number: 1 }, repository: { full_name: 'o/r' } });
  const cases: [string, () => [string, SignedRequest], number, string][] = [
    [
      'by another secret',
      () => [sources.generic!.path, genericAlert(`whsec_${'A'.repeat(44)}`, {})],
      401,
      'signature_mismatch',
    ],
    [
      'with another body',
      () => [sources.generic!.path, { ...good(), body: '{"token":"x"}' }],
      401,
      'signature_mismatch',
    ],
    [
      'of 6 minutes ago',
      () => [sources.generic!.path, genericAlert(sources.generic!.secret, {}, { atMs: Date.now() - 360_000 })],
      401,
      'time_out_of_range',
    ],
    ['without a signature', () => [sources.generic!.path, { body: '{}', headers: {} }], 401, 'signature_missing'],
    [
      'that is no alert',
      () => [sources.generic!.path, genericAlert(sources.generic!.secret, [{ token: 7 }])],
      400,
      'malformed',
    ],
    [
      'of a megabyte and more',
      () => [sources.generic!.path, genericAlert(sources.generic!.secret, { token: 'x'.repeat(1_100_000) })],
      413,
      'too_large',
    ],
    ['of GitHub by another secret', () => [sources.github!.path, githubAlert('no', {})], 401, 'signature_mismatch'],
    ['of GitHub with another body', () => [sources.github!.path, { ...hub(), body: '{}' }], 401, 'signature_mismatch'],
    [
      'of GitHub without a signature',
      () => [sources.github!.path, { body: '{}', headers: {} }],
      401,
      'signature_missing',
    ],
    [
      'of GitHub that is no alert',
      () => [sources.github!.path, githubAlert(sources.github!.secret, { action: 1 })],
      400,
      'malformed',
    ],
    [
      'of the partner programme with another body',
      () => ['/v1/alerts/github', { ...partner.sign([]), body: '[{}]' }],
      401,
      'signature_mismatch',
    ],
    [
      'of the partner programme without a signature',
      () => ['/v1/alerts/github', { body: '[]', headers: {} }],
      401,
      'signature_missing',
    ],
    ['of the partner programme that is no list', () => ['/v1/alerts/github', partner.sign({})], 400, 'malformed'],
    [
      'of the partner programme with 101 tokens',
      () => ['/v1/alerts/github', partner.sign(Array.from({ length: 101 }, (_, n) => ({ token: `t${n}`, type: 'a' })))],
      413,
      'too_large',
    ],
    ['to an address that is not there', () => [`/v1/alerts/generic/als_${'0'.repeat(32)}`, good()], 404, 'not_found'],
    ["to another source's address", () => [`/v1/alerts/github/${sources.generic!.id}`, good()], 404, 'not_found'],
    ['to a source without a shared address', () => ['/v1/alerts/generic', good()], 404, 'not_found'],
  ];

  test.each(cases)('%s', async (_, request, status, reason) => {
    const [path, delivery] = request();
    const events = api.deps.database.collection('events');
    const before = { events: await events.countDocuments(), entries: (await refusalsOf(reason)).length };
    const answer = await send(path, delivery);
    expect(answer.status).toBe(status);
    expect(answer.text).not.toContain(LEAKED);
    expect(await events.countDocuments()).toBe(before.events);
    expect((await refusalsOf(reason)).length).toBe(before.entries + 1);
  });

  test('once its source is closed', async () => {
    const made = await api.call('POST', '/v1/alert-sources', { body: { source: 'generic', name: 'old' } });
    const path = new URL(made.body.url).pathname;
    const deliver = () => send(path, genericAlert(made.body.secret, { token: 'x' }));
    expect((await deliver()).status).toBe(202);
    expect((await api.call('DELETE', `/v1/alert-sources/${made.body.id}`)).status).toBe(200);
    expect((await deliver()).status).toBe(404);
  });
});

describe('a repeated delivery', () => {
  test("is one event and is on the record, also when GitHub's unsigned delivery id was changed", async () => {
    const doc = await seedToken(`${LEAKED}-replay`);
    const payload = {
      action: 'created',
      alert: { number: 7, secret: `${LEAKED}-replay`, secret_type: 'acme' },
      repository: { full_name: 'o/r' },
    };
    const request = githubAlert(sources.github!.secret, payload);
    expect((await send(sources.github!.path, request)).body.results[0].status).toBe('accepted');
    const replayed = { ...request, headers: { ...request.headers, 'x-github-delivery': 'another' } };
    expect((await send(sources.github!.path, replayed)).body.results[0].status).toBe('duplicate');
    expect(await api.deps.database.collection('events').countDocuments({ credentialId: doc._id })).toBe(1);
    expect((await refusalsOf('replayed')).length).toBeGreaterThan(0);
  });
});

describe('what others may do', () => {
  test("GitHub's other events are taken and do nothing", async () => {
    for (const [payload, event] of [
      [{ zen: 'x' }, 'ping'],
      [{ action: 'resolved', alert: { number: 1 }, repository: { full_name: 'o/r' } }, undefined],
    ] as const) {
      const answer = await send(sources.github!.path, githubAlert(sources.github!.secret, payload, event));
      expect(answer).toMatchObject({ status: 202, body: { results: [] } });
    }
  });

  test('a principal without the permission makes no source, sees no incident, and reports nothing', async () => {
    const key = await api.keyWith('acme:release');
    const denied = await Promise.all([
      api.call('POST', '/v1/alert-sources', { key, body: { source: 'generic', name: 'x' } }),
      api.call('GET', '/v1/alert-sources', { key }),
      api.call('GET', '/v1/incidents', { key }),
      api.call('POST', '/v1/incidents/inc_0/resolve', { key, body: { resolution: 'handled' } }),
    ]);
    expect(denied.map(({ status }) => status)).toEqual([403, 403, 403, 403]);
    const doc = await seedToken(`${LEAKED}-report`);
    const data = { credentialId: doc._id };
    const event = { specversion: '1.0', id: '1', source: 'urn:x', type: 'security.alert.reported', data };
    const headers = { 'content-type': 'application/cloudevents+json' };
    const body = JSON.stringify(event);
    expect((await api.call('POST', '/v1/events', { key, headers, body })).status).toBe(403);
    const reporter = await api.keyWith('acme:report');
    expect((await api.call('POST', '/v1/events', { key: reporter, headers, body })).status).toBe(202);
  });

  test('another tenant sees neither sources nor incidents', async () => {
    const { key } = await api.otherTenant();
    expect((await api.call('GET', '/v1/alert-sources', { key })).body.items).toEqual([]);
    expect((await api.call('DELETE', `/v1/alert-sources/${sources.generic!.id}`, { key })).status).toBe(404);
    expect((await api.call('GET', '/v1/incidents/inc_0', { key })).status).toBe(404);
  });
});

test('no leaked string is anywhere in MongoDB', async () => {
  const collections = await api.deps.database.db.listCollections().toArray();
  expect(collections.length).toBeGreaterThan(0);
  for (const { name } of collections) {
    const docs = await api.deps.database.db.collection(name).find().toArray();
    expect(JSON.stringify(docs)).not.toContain(LEAKED);
  }
});
