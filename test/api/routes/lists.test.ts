import { beforeAll, describe, expect, test } from 'vitest';
import type { DeliveryDoc } from '../../../src/shared/store/delivery/deliveries.ts';
import { incidentDoc } from '../../../testkit/incidents.ts';
import { testEnvironment } from '../../../testkit/system.ts';
import { ACME, expectProblem, importEvent, startApi } from '../support.ts';

const api = await startApi({ ...testEnvironment(), ...ACME });

const ROWS = 3;

let subscriptionId = '';

beforeAll(async () => {
  const post = async (path: string, body: object) => {
    const made = await api.call('POST', path, { body });
    expect(made.status).toBe(201);
    return made.body.id as string;
  };
  for (let row = 0; row < ROWS; row += 1) {
    await api.seed();
    await post('/v1/principals', { name: `key ${row}`, permissions: ['acme:read'] });
    await post('/v1/alert-sources', { source: 'generic', name: `source ${row}` });
    subscriptionId = await post('/v1/subscriptions', { name: `sub ${row}`, sink: 'bullmq', settings: { queue: 'q' } });
    const headers = { 'content-type': 'application/cloudevents+json' };
    await api.call('POST', '/v1/events', { headers, body: JSON.stringify(importEvent()) });
  }
  const subscription = await api.deps.database.collection('subscriptions').findOne({ _id: subscriptionId });
  const { tenantId } = subscription!;
  await api.deps.database
    .collection('deliveries')
    .insertMany(Array.from({ length: ROWS }, (_, row) => deliveryDoc(tenantId, row + 1)));
  await api.deps.database
    .collection('incidents')
    .insertMany(
      Array.from({ length: ROWS }, (_, row) =>
        incidentDoc({ _id: `inc_${row}`, tenantId, detectedAt: new Date(row) }),
      ) as never[],
    );
});

function deliveryDoc(tenantId: string, seq: number): DeliveryDoc {
  const at = new Date(0);
  return {
    _id: `${subscriptionId}/${seq}`,
    tenantId,
    subscriptionId,
    seq,
    entryId: `ent_${seq}`,
    type: 'credential.refreshed',
    status: 'parked',
    attempts: 1,
    lastError: null,
    firstAttemptAt: at,
    lastAttemptAt: at,
  };
}

/** Path → the order of its rows, by a field of theirs. */
const LISTS = [
  ['/v1/principals', 'id', 'oldest'],
  ['/v1/credentials', 'id', 'oldest'],
  ['/v1/audit', 'seq', 'oldest'],
  ['/v1/incidents', 'id', 'newest'],
  ['/v1/alert-sources', 'id', 'oldest'],
  ['/v1/subscriptions', 'id', 'oldest'],
  ['/v1/subscriptions/SUB/deliveries', 'seq', 'oldest'],
  ['/v1/events', 'id', 'newest'],
] as const;

const pathOf = (path: string) => path.replace('SUB', subscriptionId);

// biome-ignore lint/suspicious/noExplicitAny: rows are asserted, not typed.
async function walk(path: string, limit: number): Promise<any[]> {
  const rows = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const { status, body } = await api.call('GET', `${path}?limit=${limit}${cursor && `&cursor=${cursor}`}`);
    expect(status).toBe(200);
    expect(body.items.length).toBeLessThanOrEqual(limit);
    rows.push(...body.items);
    cursor = body.nextCursor;
  }
  return rows;
}

describe('every list', () => {
  test.each(LISTS)('%s: page by page it shows each row once, in its order, and ends', async (path, field, first) => {
    const all = await walk(pathOf(path), 200);
    expect(all.length).toBeGreaterThanOrEqual(ROWS);
    const sorted = all.toSorted((a, b) => (a[field] < b[field] ? -1 : 1));
    expect(all).toEqual(first === 'oldest' ? sorted : sorted.reverse());
    for (const limit of [1, 2, all.length]) expect(await walk(pathOf(path), limit)).toEqual(all);
  });

  test.each(LISTS)('%s: a limit out of range and a cursor that is none are refused', async (path) => {
    for (const query of ['limit=0', 'limit=201', 'limit=x', 'cursor=', 'cursor=a.b', `cursor=${'a'.repeat(201)}`]) {
      expectProblem(await api.call('GET', `${pathOf(path)}?${query}`), 400, 'invalid_request');
    }
  });

  test.each(LISTS)('promise 10: %s: another tenant sees none of these rows', async (path) => {
    const { key } = await api.otherTenant();
    const mine = new Set((await walk(pathOf(path), 200)).map(({ id, entryId }) => id ?? entryId));
    const theirs = await api.call('GET', pathOf(path), { key });
    if (path.includes('SUB')) return expectProblem(theirs, 404, 'not_found');
    expect(theirs.body.items.filter(({ id }: { id: string }) => mine.has(id))).toEqual([]);
  });
});
