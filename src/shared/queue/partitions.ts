/** A queue is split into partitions, so that a Redis Cluster can spread it: which there are, and which a job goes to. */
import { createHash } from 'node:crypto';
import { JOBS, type JobName, type JobPayload, type Payload, type PayloadKind } from './jobs.ts';

/** BullMQ's name and key prefix of one partition. The braces keep its keys in one slot of a Redis Cluster. */
export function partitionOf(keyPrefix: string, name: JobName, partition: number): { queue: string; prefix: string } {
  const queue = `${name}-${partition}`;
  return { queue, prefix: `{${keyPrefix}:${queue}}` };
}

/** The partition that a job goes to, by the first id in its payload: the same in every process. */
export function partitionFor<N extends JobName>(name: N, payload: JobPayload<N>, partitions: number): number {
  if (partitions === 1) return 0;
  const id = FIRST_ID[JOBS[name].payload as (typeof JOBS)[N]['payload']](payload) ?? '';
  return createHash('sha1').update(id).digest().readUInt32BE() % partitions;
}

const FIRST_ID: { [K in PayloadKind]: (payload: Payload<K>) => string | undefined } = {
  work: ({ credentialIds, eventIds }) => (credentialIds ?? eventIds)?.[0],
  observations: ({ tenantIds, eventIds }) => (tenantIds ?? eventIds)?.[0],
  tenant: ({ tenantId }) => tenantId,
  signed: ({ principalId }) => principalId,
  ids: ({ ids }) => ids[0],
};
