/** The jobs that workers know: one row each. A job is a folder of its domain; `queue/jobs.ts` has its queue and its payload. */
import { createAuditJob } from '../shared/audit/job.ts';
import { createExchangeJob } from '../shared/credentials/exchange/job.ts';
import { createRefreshJob } from '../shared/credentials/refresh/job.ts';
import { createRevokeJob } from '../shared/credentials/revocation/job.ts';
import { createRotateJob } from '../shared/credentials/rotation/job.ts';
import { createDeliverJob } from '../shared/delivery/job.ts';
import { notifySubscriptions } from '../shared/delivery/notify-subscriptions.ts';
import { createIntakeJob } from '../shared/events/intake/job.ts';
import { createRespondJob } from '../shared/incidents/playbook/job.ts';
import { createDetectJob } from '../shared/incidents/rules/job.ts';
import { createResealJob } from '../shared/keys/rotation/job.ts';
import type { CreateJob } from '../shared/work/job.ts';

export const CREATE_JOBS: readonly CreateJob[] = [
  createIntakeJob,
  createExchangeJob,
  createRefreshJob,
  createRotateJob,
  createRevokeJob,
  createDetectJob,
  createRespondJob,
  createAuditJob(notifySubscriptions),
  createDeliverJob,
  createResealJob,
];
