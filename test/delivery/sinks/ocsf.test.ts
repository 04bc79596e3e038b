import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { messageOf } from '../../../src/shared/delivery/message.ts';
import { toOcsf } from '../../../src/shared/delivery/sinks/ocsf.ts';
import type { ChainedEntry } from '../../../src/shared/store/audit/entries.ts';
import { makeEntry } from '../../../src/shared/store/entry.ts';

const schemas = JSON.parse(readFileSync(new URL('../../fixtures/ocsf-1.8.0.json', import.meta.url), 'utf8'));
const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });

const TYPES = [
  'credential.activated',
  'credential.accessed',
  'credential.refreshed',
  'credential.refresh_failed',
  'credential.quarantined',
  'credential.revoked',
  'credential.destroyed',
  'principal.created',
  'principal.revoked',
  'principal.changed',
  'incident.opened',
  'incident.contained',
  'incident.resolved',
  'subscription.created',
  'audit.checkpoint',
];

const ACTORS = [
  { kind: 'principal', id: 'prn_1', ip: '192.0.2.7', userAgent: 'curl/8' },
  { kind: 'worker', id: 'wrk_1' },
] as const;

function entry(type: string, actor: (typeof ACTORS)[number]): ChainedEntry {
  const deps = { clock: { now: () => 1_790_000_000_000 }, random: { bytes: (n: number) => Buffer.alloc(n, 1) } };
  const made = makeEntry(deps, {
    tenantId: 'ten_a',
    type,
    actor,
    credentialId: 'cred_1',
    service: 'figma',
    subject: 'user-1',
    eventId: 'evt_1',
    incidentId: type.startsWith('incident.') ? 'inc_1' : null,
    outcome: type.endsWith('failed') ? 'failure' : 'success',
    reason: type.endsWith('failed') ? 'provider_unavailable' : null,
    detail: { generation: 2 },
  });
  return { ...made, seq: 7, prev: '0'.repeat(64), hash: '1'.repeat(64), mac: 'v1.x' };
}

describe('an entry as an OCSF 1.8 event', () => {
  test.each(TYPES.flatMap((type) => ACTORS.map((actor) => ({ type, actor, kind: actor.kind }))))(
    '$type by a $kind is valid by the schema of its class',
    ({ type, actor }) => {
      const event = toOcsf(messageOf(entry(type, actor)), { version: '0.1.0' });
      const validate = ajv.compile(schemas[String(event.class_uid)]);
      validate(JSON.parse(JSON.stringify(event)));
      expect(validate.errors ?? []).toEqual([]);
      expect(event.type_uid).toBe(Number(event.class_uid) * 100 + Number(event.activity_id));
    },
  );

  test('the schema refuses what is no such event', () => {
    const event = toOcsf(messageOf(entry('credential.revoked', ACTORS[0])), { version: '0.1.0' });
    const validate = ajv.compile(schemas[String(event.class_uid)]);
    expect(validate({ ...event, entity: undefined, made_up: 1 })).toBe(false);
  });
});
