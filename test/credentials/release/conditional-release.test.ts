import { describe, expect, test } from 'vitest';
import { storeMaterial } from '../../../src/shared/keys/material.ts';
import { Secret } from '../../../src/shared/platform/secret.ts';
import type { CredentialDoc } from '../../../src/shared/store/lifecycle/credentials.ts';
import { testEnvironment } from '../../../testkit/system.ts';
import { ACME, expectProblem, startApi } from '../../api/support.ts';

const api = await startApi({ ...testEnvironment(), ...ACME });
const credentials = () => api.deps.database.collection('credentials');

const release = (id: string, etag?: string) =>
  api.call('GET', `/v1/credentials/${id}/token`, { ...(etag && { headers: { 'if-none-match': etag } }) });

const accesses = async (credentialId: string) =>
  (await api.call('GET', `/v1/audit?type=credential.accessed&credentialId=${credentialId}`)).body.items;

async function nextGeneration(doc: CredentialDoc, token: string): Promise<void> {
  const generation = doc.generation + 1;
  const secret = await storeMaterial(api.deps, doc, generation, { accessToken: new Secret(token) });
  await credentials().updateOne({ _id: doc._id }, { $set: { generation, secret } });
}

describe('If-None-Match on the token release', () => {
  test('while the secret is the same it answers 304 without it, and records no access', async () => {
    const doc = await api.seed({ token: 'tok-CANARY' });
    const first = await release(doc._id);
    const etag = String(first.headers.etag);
    for (const known of [etag, `W/${etag}`, `"other.1", ${etag}`]) {
      const again = await release(doc._id, known);
      expect(again).toMatchObject({ status: 304, text: '', headers: { etag, 'cache-control': 'no-store' } });
    }
    expect(await accesses(doc._id)).toHaveLength(1);
  });

  test('its successor is released and recorded', async () => {
    const doc = await api.seed({ token: 'tok-1' });
    const { headers } = await release(doc._id);
    await nextGeneration(doc, 'tok-2');
    const newer = await release(doc._id, String(headers.etag));
    expect(newer).toMatchObject({ status: 200, body: { accessToken: 'tok-2', generation: 2 } });
    expect(newer.headers.etag).not.toBe(headers.etag);
    expect(await accesses(doc._id)).toHaveLength(2);
  });

  test('promise 8: who holds the token of a quarantined or blocked credential is told so, not that nothing changed', async () => {
    const doc = await api.seed();
    const etag = String((await release(doc._id)).headers.etag);
    await credentials().updateOne({ _id: doc._id }, { $set: { state: 'quarantined' } });
    expectProblem(await release(doc._id, etag), 409, 'credential_blocked');
    const set = { state: 'active' as const, blocked: { reason: 'alert', at: new Date() } };
    await credentials().updateOne({ _id: doc._id }, { $set: set });
    expectProblem(await release(doc._id, etag), 409, 'credential_blocked');
    expect(await accesses(doc._id)).toMatchObject([
      { outcome: 'success' },
      { outcome: 'denied' },
      { outcome: 'denied' },
    ]);
  });

  test('a tag that names no secret of this credential, or any at all, is no proof of holding one', async () => {
    const doc = await api.seed();
    for (const known of ['*', '"1"', `"${doc._id}.7"`, doc._id]) {
      expect((await release(doc._id, known)).status).toBe(200);
    }
    const key = await api.keyWith('acme:read');
    const headers = { 'if-none-match': `"${doc._id}.1"` };
    const refused = await api.call('GET', `/v1/credentials/${doc._id}/token`, { key, headers });
    expectProblem(refused, 403, 'permission_denied');
  });
});
