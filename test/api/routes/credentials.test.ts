import { describe, expect, test } from 'vitest';
import { testEnvironment } from '../../../testkit/system.ts';
import { ACME, expectProblem, startApi } from '../support.ts';

const api = await startApi({ ...testEnvironment(), ...ACME });

const stored = (eventId: string) => api.deps.database.collection('events').findOne({ _id: eventId });
const entriesOf = async (id: string) => (await api.call('GET', `/v1/audit?credentialId=${id}`)).body.items;

describe('reading credentials', () => {
  test('promise 1: metadata holds no secret, no sealed value and no fingerprint', async () => {
    const doc = await api.seed({ token: 'tok-CANARY' });
    const { status, body, text } = await api.call('GET', `/v1/credentials/${doc._id}`);
    expect({ status, id: body.id, state: body.state }).toEqual({ status: 200, id: doc._id, state: 'active' });
    for (const hidden of ['CANARY', 'fingerprint', doc.secret!.jwe!, 'jwe', '"lease"'])
      expect(text).not.toContain(hidden);
  });

  test('a list is walked page by page, each once', async () => {
    const ids = [];
    for (let n = 0; n < 5; n += 1) ids.push((await api.seed({ service: 'paged' }))._id);
    const seen: string[] = [];
    let path = '/v1/credentials?service=paged&limit=2';
    for (let pages = 0; path !== '' && pages < 9; pages += 1) {
      const { body } = await api.call('GET', path);
      seen.push(...body.items.map(({ id }: { id: string }) => id));
      path = body.nextCursor ? `/v1/credentials?service=paged&limit=2&cursor=${body.nextCursor}` : '';
    }
    expect(seen.sort()).toEqual(ids.sort());
  });

  test('a list is filtered by subject, state and what is due', async () => {
    const soon = new Date(Date.now() + 1_000);
    const due = await api.seed({ service: 'filtered', subject: 'ann', due: { rotate: soon } });
    await api.seed({ service: 'filtered', subject: 'ben', state: 'revoked', due: {} });
    const idsOf = async (query: string) =>
      (await api.call('GET', `/v1/credentials?service=filtered&${query}`)).body.items.map(
        (item: { id: string }) => item.id,
      );
    const before = new Date(Date.now() + 60_000).toISOString();
    expect(await idsOf('subject=ann')).toEqual([due._id]);
    expect(await idsOf('state=active')).toEqual([due._id]);
    expect(await idsOf(`dueBefore=${before}`)).toEqual([due._id]);
    expectProblem(await api.call('GET', '/v1/credentials?state=dead'), 400, 'invalid_request');
    expectProblem(await api.call('GET', '/v1/credentials?limit=0'), 400, 'invalid_request');
  });

  test('a principal sees only the services that it may read', async () => {
    await api.seed({ service: 'seen' });
    await api.seed({ service: 'hidden' });
    const key = await api.keyWith('seen:read');
    const { body } = await api.call('GET', '/v1/credentials', { key });
    expect(new Set(body.items.map(({ service }: { service: string }) => service))).toEqual(new Set(['seen']));
    expectProblem(await api.call('GET', '/v1/credentials?service=hidden', { key }), 403, 'permission_denied');
    const blind = await api.keyWith('seen:release');
    expectProblem(await api.call('GET', '/v1/credentials', { key: blind }), 403, 'permission_denied');
  });

  test("promise 10: another tenant's credential looks like none, on every path", async () => {
    const doc = await api.seed();
    const { key } = await api.otherTenant();
    const paths = [
      ['GET', ''],
      ['GET', '/token'],
      ['POST', '/refresh'],
      ['POST', '/revoke'],
      ['POST', '/quarantine'],
      ['POST', '/restore'],
      ['DELETE', ''],
    ] as const;
    for (const [method, rest] of paths) {
      const theirs = await api.call(method, `/v1/credentials/${doc._id}${rest}`, { key });
      const absent = await api.call(method, `/v1/credentials/cred_none${rest}`, { key });
      expectProblem(theirs, 404, 'not_found');
      expect(theirs.text.replace(doc._id, '')).toBe(absent.text.replace('cred_none', ''));
    }
    expect((await api.call('GET', '/v1/credentials', { key })).body.items).toEqual([]);
  });
});

describe('asking for work on a credential', () => {
  test('refresh, revoke and DELETE become events on behalf of the caller', async () => {
    const { _id } = await api.seed();
    const refresh = await api.call('POST', `/v1/credentials/${_id}/refresh`);
    const revoke = await api.call('POST', `/v1/credentials/${_id}/revoke`, { body: { reason: 'left the company' } });
    const gone = await api.call('DELETE', `/v1/credentials/${_id}`);
    for (const { status } of [refresh, revoke, gone]) expect(status).toBe(202);
    expect(await stored(refresh.body.eventId)).toMatchObject({
      type: 'credential.refresh.requested',
      source: 'keyturn:api',
    });
    expect((await stored(revoke.body.eventId))?.data).toEqual({
      credentialId: _id,
      reason: 'left the company',
      destroy: false,
    });
    expect((await stored(gone.body.eventId))?.data).toEqual({ credentialId: _id, destroy: true });
  });

  test('the same Idempotency-Key is the same event; without one each call is its own', async () => {
    const { _id } = await api.seed();
    const path = `/v1/credentials/${_id}/refresh`;
    const headers = { 'idempotency-key': 'once' };
    const [first, again] = [await api.call('POST', path, { headers }), await api.call('POST', path, { headers })];
    expect(again.body.eventId).toBe(first.body.eventId);
    expect((await api.call('POST', path)).body.eventId).not.toBe(first.body.eventId);
    const revoke = await api.call('POST', `/v1/credentials/${_id}/revoke`, { headers });
    expect(revoke.body.eventId).not.toBe(first.body.eventId);
  });

  test('each takes its own permission and a body of the right form', async () => {
    const { _id } = await api.seed();
    const key = await api.keyWith('acme:refresh');
    expect((await api.call('POST', `/v1/credentials/${_id}/refresh`, { key })).status).toBe(202);
    expectProblem(await api.call('POST', `/v1/credentials/${_id}/revoke`, { key }), 403, 'permission_denied');
    expectProblem(await api.call('DELETE', `/v1/credentials/${_id}`, { key }), 403, 'permission_denied');
    expectProblem(await api.call('POST', `/v1/credentials/${_id}/quarantine`, { key }), 403, 'permission_denied');
    const odd = await api.call('POST', `/v1/credentials/${_id}/revoke`, { body: { resaon: 'x' } });
    expectProblem(odd, 400, 'invalid_request');
  });
});

describe('quarantine', () => {
  test('promise 6: stops the release and the refresh at once, and a restore brings both back, each on the record', async () => {
    const { _id } = await api.seed();
    const body = { reason: 'odd traffic' };
    const quarantined = await api.call('POST', `/v1/credentials/${_id}/quarantine`, { body });
    expect(quarantined).toMatchObject({ status: 200, body: { state: 'quarantined', due: {} } });
    expectProblem(await api.call('GET', `/v1/credentials/${_id}/token`), 409, 'credential_blocked');
    const restored = await api.call('POST', `/v1/credentials/${_id}/restore`);
    expect(restored).toMatchObject({ status: 200, body: { state: 'active', due: { refresh: expect.any(String) } } });
    expect((await api.call('GET', `/v1/credentials/${_id}/token`)).status).toBe(200);
    expect(await entriesOf(_id)).toMatchObject([
      { type: 'credential.quarantined', detail: { from: 'active', said: 'odd traffic' } },
      { type: 'credential.accessed', outcome: 'denied' },
      { type: 'credential.restored' },
      { type: 'credential.accessed', outcome: 'success' },
    ]);
  });

  test('is refused where the lifecycle has no such step, or a revocation has begun', async () => {
    const revoked = await api.seed({ state: 'revoked' });
    expectProblem(await api.call('POST', `/v1/credentials/${revoked._id}/quarantine`), 409, 'transition_refused');
    const active = await api.seed();
    expectProblem(await api.call('POST', `/v1/credentials/${active._id}/restore`), 409, 'transition_refused');
    const going = await api.seed({ state: 'quarantined', blocked: { reason: 'revocation', at: new Date() } });
    expectProblem(await api.call('POST', `/v1/credentials/${going._id}/restore`), 409, 'transition_refused');
    expect(await entriesOf(going._id)).toEqual([]);
  });
});
