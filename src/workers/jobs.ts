/** The jobs that workers know: one row each. A job is a folder of its domain; `queue/jobs.ts` has its queue and payload. */
import { plugin as audit } from '../shared/audit/job.ts';
import { plugin as exchange } from '../shared/credentials/exchange/job.ts';
import { plugin as refresh } from '../shared/credentials/refresh/job.ts';
import { plugin as revoke } from '../shared/credentials/revocation/job.ts';
import { plugin as rotate } from '../shared/credentials/rotation/job.ts';
import { plugin as deliver } from '../shared/delivery/job.ts';
import { plugin as intake } from '../shared/events/intake/job.ts';
import { plugin as respond } from '../shared/incidents/playbook/job.ts';
import { plugin as detect } from '../shared/incidents/rules/job.ts';
import { plugin as reseal } from '../shared/keys/rotation/job.ts';
import type { JobName } from '../shared/queue/jobs.ts';
import type { Job } from '../shared/work/job.ts';

const ALL = [audit, deliver, detect, exchange, intake, refresh, reseal, respond, revoke, rotate] as readonly Job[];

export const JOBS_BY_NAME: ReadonlyMap<JobName, Job> = new Map(ALL.map((job) => [job.name, job]));
