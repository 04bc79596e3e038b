import { hash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { chainEntries } from '../../src/shared/audit/chain.ts';
import { newId } from '../../src/shared/platform/ids.ts';
import { complianceSchema } from '../../src/shared/report/schema.ts';
import type { IncidentDoc } from '../../src/shared/store/compromise/incidents.ts';
import { incidentDoc } from '../../testkit/incidents.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { ACME, expectProblem, startApi } from '../api/support.ts';

const api = await startApi({ ...testEnvironment(), ...ACME });

const DAY = 86_400_000;
const ago = (days: number) => new Date(Date.now() - days * DAY);
const NASTY = '<script>alert(1)</script>"&';

type Fields = Parameters<typeof api.seed>[0];

/** A tenant with one of everything that the report speaks of. */
async function tenantWithHistory() {
  const { tenantId, key } = await api.otherTenant();
  const seed = (fields: Fields) => api.seed({ tenantId, createdAt: ago(400), lastReleasedAt: ago(1), ...fields });
  const policy = { rotateEveryMs: 30 * DAY };
  await seed({ service: 'acme', secretChangedAt: ago(10), policy });
  const overdue = await seed({ service: 'acme', subject: NASTY, secretChangedAt: ago(45), policy });
  const dormant = await seed({
    service: 'mail',
    subject: '=cmd|calc',
    secretChangedAt: ago(200),
    lastReleasedAt: null,
  });
  await seed({ service: 'mail', state: 'revoked', secretChangedAt: ago(500), policy, lastReleasedAt: null });
  await seed({ service: 'mail', secretChangedAt: ago(1), createdAt: ago(1), lastReleasedAt: null });
  const containedAfter = [100, 300, 1_000, null];
  for (const ms of containedAfter) await api.deps.database.collection('incidents').insertOne(incident(tenantId, ms));
  await chainEntries(api.deps, tenantId);
  return { tenantId, key, overdue, dormant };
}

function incident(tenantId: string, containedInMs: number | null): IncidentDoc {
  const detectedAt = ago(3);
  return incidentDoc({
    _id: newId('incident', api.deps),
    tenantId,
    status: containedInMs === null ? 'waiting' : 'contained',
    severity: containedInMs === null ? 'medium' : 'critical',
    service: 'acme',
    detectedAt,
    containedAt: containedInMs === null ? null : new Date(detectedAt.getTime() + containedInMs),
  });
}

const read = (key: string, query = '', headers: Record<string, string> = {}) =>
  api.call('GET', `/v1/reports/compliance${query}`, { key, headers });

describe('the compliance report', () => {
  test('counts states, ages, overdue and dormant credentials, key versions and incidents, each right', async () => {
    const { tenantId, key, overdue, dormant } = await tenantWithHistory();
    const { status, body } = await read(key);
    expect(status).toBe(200);
    expect(complianceSchema.parse(body)).toEqual(body);
    expect(body).toMatchObject({ tenant: { id: tenantId, name: 'other' }, dormantAfterDays: 90 });
    expect(body.services).toEqual([
      { service: 'acme', states: { active: 2 }, withPolicy: 2, overdue: 1, dormant: 0, oldestDays: 45 },
      { service: 'mail', states: { active: 2, revoked: 1 }, withPolicy: 0, overdue: 0, dormant: 1, oldestDays: 200 },
    ]);
    expect(body.ages.map(({ credentials }: { credentials: number }) => credentials)).toEqual([2, 1, 0, 1, 0]);
    expect(body.overdue).toMatchObject({
      count: 1,
      items: [{ credentialId: overdue._id, ageDays: 45, policyDays: 30 }],
    });
    expect(body.dormant).toMatchObject({ count: 1, items: [{ credentialId: dormant._id, lastReleasedAt: null }] });
    expect(body.keys).toMatchObject({ currentVersion: 1, coverage: 1, versions: [{ version: 1, credentials: 5 }] });
    expect(body.incidents).toMatchObject({
      count: 4,
      open: 1,
      bySeverity: { critical: 3, medium: 1 },
      timeToContainMs: { p50: 300, p90: 1_000, most: 1_000 },
    });
    expect(body.log).toMatchObject({ status: 'verified', findings: [], entries: expect.any(Number) });
    expect((await read(key, '?dormantAfterDays=365')).body.dormant.count).toBe(1);
    expect((await read(key, '?dormantAfterDays=500')).body.dormant.count).toBe(0);
  });

  test('secrets under an older key version, and under one that is missing, show as such', async () => {
    const { tenantId, key, overdue } = await tenantWithHistory();
    const credentials = api.deps.database.collection('credentials');
    await credentials.updateOne({ _id: overdue._id }, { $set: { 'secret.keyVersion': 7 } });
    const { keys } = (await read(key)).body;
    expect(keys).toMatchObject({ currentVersion: 1, coverage: 0.8 });
    expect(keys.versions).toContainEqual({ version: 7, state: 'missing', createdAt: null, credentials: 1 });
    expect(await credentials.countDocuments({ tenantId })).toBe(5);
  });

  test('promise 7: it says when the log was tampered with, and where', async () => {
    const { tenantId, key } = await tenantWithHistory();
    const audit = api.deps.database.collection('audit');
    const entry = await audit.findOne({ tenantId, seq: 1 });
    await audit.updateOne({ _id: entry!._id }, { $set: { reason: 'edited' } });
    const { log } = (await read(key)).body;
    expect(log).toMatchObject({ status: 'tampered', findings: [{ kind: 'edited', seq: 1, entryId: entry!._id }] });
    expect((await read(key, '?format=html')).text).toContain('TAMPERED WITH');
  });

  test('a log too long to walk while a caller waits is said to be unchecked, never to be whole', async () => {
    const { tenantId, key } = await tenantWithHistory();
    await api.deps.database.collection('audit_heads').updateOne({ _id: tenantId }, { $set: { seq: 2_000_000 } });
    const { log } = (await read(key)).body;
    expect(log).toMatchObject({
      status: 'not_checked',
      entries: 2_000_000,
      limits: [expect.stringContaining('verify')],
    });
  });

  test('a tenant with nothing gets a report of nothing', async () => {
    const { key } = await api.otherTenant();
    const { body } = await read(key);
    expect(body).toMatchObject({ services: [], overdue: { count: 0 }, keys: { coverage: 1 }, incidents: { count: 0 } });
    expect((await read(key, '?format=html')).text).toContain('There are no credentials.');
  });
});

describe('its forms', () => {
  test('HTML is one page: escaped, with its own style and nothing else', async () => {
    const { key } = await tenantWithHistory();
    const accept = 'text/html,application/xhtml+xml,*/*;q=0.8';
    const { status, headers, text } = await read(key, '', { accept });
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('text/html; charset=utf-8');
    expect(text).not.toContain('<script');
    expect(text).toContain('&#60;script&#62;alert(1)');
    expect(text).not.toMatch(/\b(?:src|href|style|on\w+)=|url\(|@import/);
    const style = /<style>([\s\S]*)<\/style>/.exec(text)![1]!;
    expect(headers['content-security-policy']).toContain(`style-src 'sha256-${hash('sha256', style, 'base64')}'`);
    expect(headers['content-security-policy']).toContain("default-src 'none'");
  });

  test('CSV has one measure to a line, and no text that a spreadsheet would run', async () => {
    const { key } = await tenantWithHistory();
    const { headers, text } = await read(key, '', { accept: 'text/csv' });
    expect(headers['content-type']).toBe('text/csv; charset=utf-8');
    expect(headers['content-disposition']).toMatch(/^attachment; filename="compliance-\d{4}-\d\d-\d\d\.csv"$/);
    const lines = text.trimEnd().split('\r\n');
    expect(lines[0]).toBe('section,item,measure,value');
    expect(lines).toContain('service,acme,overdue,1');
    expect(lines).toContain('log,all,status,verified');
    expect(text).toContain(`,subject,'=cmd|calc`);
    expect(text).toContain('"<script>alert(1)</script>""&"');
  });

  test('the query wins over Accept, and what neither names is JSON', async () => {
    const { key } = await api.otherTenant();
    const typeOf = async (query: string, accept: string) =>
      String((await read(key, query, { accept })).headers['content-type']).split(';')[0];
    expect(await typeOf('?format=csv', 'text/html')).toBe('text/csv');
    expect(await typeOf('?format=json', 'text/html')).toBe('application/json');
    expect(await typeOf('', 'image/png, */*')).toBe('application/json');
    expectProblem(await read(key, '?format=pdf'), 400, 'invalid_request');
  });

  test('it takes reports:read', async () => {
    expectProblem(await read(await api.keyWith('acme:read', 'audit:read')), 403, 'permission_denied');
    expect((await read(await api.keyWith('reports:read'))).status).toBe(200);
  });
});
