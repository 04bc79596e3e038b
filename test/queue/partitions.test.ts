import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { JOB_NAMES, JOBS, type JobName, type JobPayload } from '../../src/shared/queue/jobs.ts';
import { partitionFor, partitionOf } from '../../src/shared/queue/partitions.ts';

const PARTITIONS = 7;

/** The partition of an id, reckoned apart from the code: others add jobs too, and must come to the same. */
function partitionOfId(id: string): number {
  return createHash('sha1').update(id).digest().readUInt32BE(0) % PARTITIONS;
}

const headers = { 'webhook-id': 'msg_1', 'webhook-timestamp': '1', 'webhook-signature': 'v1,x' };

/** Payloads, and the id that decides. */
const CASES: { [N in JobName]?: [JobPayload<N>, string][] } = {
  refresh: [
    [{ credentialIds: ['cred_1', 'cred_2'], reason: 'due' }, 'cred_1'],
    [{ eventIds: ['evt_1'], reason: 'accepted' }, 'evt_1'],
    [{ credentialIds: ['cred_3'], eventIds: ['evt_1'], reason: 'both' }, 'cred_3'],
    [{ reason: 'nothing' }, ''],
  ],
  detect: [
    [{ tenantIds: ['ten_1'], eventIds: ['evt_1'], reason: 'due' }, 'ten_1'],
    [{ eventIds: ['evt_2'], reason: 'accepted' }, 'evt_2'],
  ],
  audit: [[{ tenantId: 'ten_1', reason: 'due' }, 'ten_1']],
  intake: [[{ principalId: 'prn_1', event: '{}', headers }, 'prn_1']],
  deliver: [
    [{ ids: ['sub_1', 'sub_2'], reason: 'due' }, 'sub_1'],
    [{ ids: [], reason: 'due' }, ''],
  ],
};

describe('the partition of a job', () => {
  test.each(Object.entries(CASES))('%s: is that of the first id in its payload', (name, cases) => {
    for (const [payload, id] of cases as [JobPayload<JobName>, string][]) {
      expect(partitionFor(name as JobName, payload, PARTITIONS)).toBe(partitionOfId(id));
      expect(partitionFor(name as JobName, payload, 1)).toBe(0);
    }
  });

  test('every kind of payload is among the cases', () => {
    const kinds = Object.keys(CASES).map((name) => JOBS[name as JobName].payload);
    expect(new Set(kinds)).toEqual(new Set(JOB_NAMES.map((name) => JOBS[name].payload)));
  });

  test('has a name and a key prefix of its own, in one slot of a Redis Cluster', () => {
    expect(partitionOf('kt', 'refresh', 3)).toEqual({ queue: 'refresh-3', prefix: '{kt:refresh-3}' });
  });
});
