import { randomBytes } from 'node:crypto';
import { afterAll } from 'vitest';
import { acceptEvents, type Sender } from '../../src/shared/events/accept.ts';
import { fileFinding } from '../../src/shared/incidents/case-file.ts';
import { storeMaterial } from '../../src/shared/keys/material.ts';
import { makeSemaphore } from '../../src/shared/platform/concurrency/semaphore.ts';
import { Secret } from '../../src/shared/platform/secret.ts';
import { makeMetrics } from '../../src/shared/runtime/metrics.ts';
import type { Entry } from '../../src/shared/store/audit/inbox.ts';
import type { CredentialDoc, RotationDoc } from '../../src/shared/store/lifecycle/credentials.ts';
import type { WorkerDeps } from '../../src/shared/work/job.ts';
import { openJournal } from '../../src/shared/work/journal.ts';
import { type StubProvider, type StubReply, startStubProvider } from '../../testkit/providers/stub-provider.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { startApi, type TestApi } from '../api/support.ts';

export const TENANT = `ten_${'0'.repeat(32)}`;

/** Midnight of a day in January 2040: dates that nothing but the test writes. */
export const day = (number: number) => new Date(Date.UTC(2040, 0, number));

/** Every field that a transition may touch holds something. */
export const BUSY = {
  due: { refresh: day(1), rotate: day(2), expire: day(3), validate: day(4) },
  claimed: { refresh: day(5), rotate: day(6), expire: day(7), validate: day(8) },
  failures: 2,
  lastError: { code: 'provider_unavailable', at: day(9) },
  interrupted: { holder: 'wrk_dead/1', purpose: 'respond', until: day(-9) },
} as const satisfies Partial<CredentialDoc>;

export type World = TestApi & { stub: StubProvider; workers: WorkerDeps };

/** The API and what jobs are created with, in this process, with a provider that answers what `stub` is told. */
export async function startWorld(): Promise<World> {
  const stub = await startStubProvider();
  afterAll(() => stub.stop());
  const prefix = 'KEYTURN_PROVIDER_ACME';
  const api = await startApi({
    ...testEnvironment(),
    KEYTURN_PROVIDERS: 'acme',
    [`${prefix}_TYPE`]: 'oauth2',
    [`${prefix}_CLIENT_ID`]: 'keyturn',
    [`${prefix}_CLIENT_SECRET`]: 'client-secret',
    [`${prefix}_AUTHORIZE_URL`]: `${stub.url}/authorize`,
    [`${prefix}_TOKEN_URL`]: `${stub.url}/token`,
    [`${prefix}_REVOKE_URL`]: `${stub.url}/revoke`,
    [`${prefix}_INTROSPECT_URL`]: `${stub.url}/introspect`,
  });
  const journal = openJournal(api.config.journalDir, 'wrk_test', api.deps.clock);
  afterAll(() => journal.close());
  const places = makeSemaphore(8);
  return {
    ...api,
    stub,
    workers: { ...api.deps, journal, workerId: 'wrk_test', metrics: makeMetrics(), placesAt: () => places },
  };
}

/** What the provider says of a token, and to a refresh. */
export function answer({ stub }: World, { active = true, token = {} }: { active?: boolean; token?: StubReply }): void {
  stub.always(({ path }) => {
    if (path === '/introspect') return { body: { active } };
    return path === '/revoke' ? { status: 200, body: '' } : token;
  });
}

export async function read({ deps }: World, { _id }: Pick<CredentialDoc, '_id'>): Promise<CredentialDoc> {
  return (await deps.database.collection('credentials').findOne({ _id }))!;
}

/** Accepts an event of the tenant; its id. Nobody works on it but the test. */
export async function send({ deps }: World, type: string, data: Record<string, unknown>): Promise<string> {
  const sender: Sender = {
    principal: { _id: 'prn_test', tenantId: TENANT, permissions: ['*:*'] },
    origin: { ip: null, userAgent: null },
    traceparent: null,
  };
  const event = { specversion: '1.0', id: randomBytes(8).toString('hex'), source: 'urn:test', type, data };
  const [receipt] = await acceptEvents(deps, sender, [event]);
  return (receipt as { eventId: string }).eventId;
}

/** A confirmed leak of the credential becomes an incident; its id. */
export async function leak({ workers }: World, { _id }: CredentialDoc): Promise<string> {
  const id = await fileFinding(workers, {
    rule: 'leaked-secret',
    finding: { severity: 'critical', confidence: 'confirmed', explanation: 'It was found outside.' },
    at: new Date(),
    tenantId: TENANT,
    credentialId: _id,
    principalId: null,
    alert: { id: `alert-${_id}`, source: 'generic', kind: null, url: null, reference: _id },
  });
  return id as string;
}

/** A rotation under way, recorded up to `step`. Its pending secret is sealed where it has one. */
export async function rotationAt({ deps }: World, step: RotationDoc['step']): Promise<RotationDoc> {
  const id = `rot_${randomBytes(16).toString('hex')}`;
  const owner = { _id: id, tenantId: TENANT };
  const material = { accessToken: new Secret(`minted-${id}`) };
  return {
    id,
    rotator: 'redis-acl',
    step,
    eventId: null,
    generation: 1,
    attempt: 1,
    pending: step === 'planned' || step === 'promoted' ? null : await storeMaterial(deps, owner, 1, material),
    metadata: {},
    expiresAt: null,
    previous: null,
    previousMetadata: {},
    overlapMs: 3_600_000,
    failures: 1,
    rejections: 0,
    discard: null,
    startedAt: day(1),
    retireAt: step === 'promoted' ? day(2) : null,
  };
}

/** What the log says of transitions of a credential, in order: all but ids, times and what the document says. */
export async function told({ deps }: World, { _id }: Pick<CredentialDoc, '_id'>): Promise<Partial<Entry>[]> {
  const entries = await deps.database.collection('audit_inbox').find({ credentialId: _id }).sort({ _id: 1 }).toArray();
  return entries
    .filter(({ type }) => type.startsWith('credential.'))
    .map(({ type, actor, outcome, reason, detail, eventId, incidentId }) => ({
      type,
      by: actor.kind,
      outcome,
      reason,
      detail,
      ...(eventId && { eventId }),
      ...(incidentId && { incidentId }),
    }));
}

const NESTED = ['due', 'claimed', 'rotation'];

/** Every path that differs → its value afterwards. `now`: a date of the last minute; `gone`: it is not there any more. */
export function changed(before: CredentialDoc, after: CredentialDoc): Record<string, unknown> {
  const [old, fresh] = [flat(before), flat(after)];
  const paths = [...new Set([...Object.keys(old), ...Object.keys(fresh)])].sort();
  const differs = paths.filter((path) => JSON.stringify(old[path]) !== JSON.stringify(fresh[path]));
  return Object.fromEntries(differs.map((path) => [path, shown(fresh[path])]));
}

function flat(doc: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(doc).flatMap(([name, value]) =>
      NESTED.includes(name) && value !== null
        ? Object.entries(value).map(([inner, one]) => [`${name}.${inner}`, one])
        : [[name, value]],
    ),
  );
}

function shown(value: unknown): unknown {
  if (value === undefined) return 'gone';
  if (value instanceof Date) return Math.abs(Date.now() - value.getTime()) < 60_000 ? 'now' : value;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shown(inner)]));
}
