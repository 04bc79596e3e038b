/**
 * Turns observations into findings and incidents. Alerts are judged at once, from their events; everything else is read from
 * the log, once it has its place there.
 */

import type { UsageData } from '../../events/catalogue.ts';
import { settled, settleEvents } from '../../events/settling.ts';
import { toAppError } from '../../platform/errors.ts';
import type { Entry } from '../../store/audit/inbox.ts';
import type { Operation } from '../../store/commit.ts';
import { makeEntry } from '../../store/entry.ts';
import { findCredentialOwner } from '../../store/lifecycle/credentials-lookup.ts';
import { type EventDoc, findOpenEvents, OPEN_EVENT_STATUSES } from '../../store/lifecycle/events.ts';
import { defineJob, type WorkerDeps } from '../../work/job.ts';
import { fileFinding } from '../case-file.ts';
import type { Rule } from './contract.ts';
import { loadRules } from './load.ts';
import { scanLog } from './log-scan.ts';
import { observationOf } from './observation.ts';
import { judge } from './rule-evaluation.ts';

/** The job of the `detect` queue. */
export const createDetectJob = defineJob('detect', (deps) => ({
  async process(payload, signal) {
    const rules = await loadRules();
    const events = await findOpenEvents(deps.database, payload.eventIds ?? []);
    await Promise.all(events.map((event) => settleOne(deps, rules, event)));
    for (const tenantId of payload.tenantIds ?? []) {
      await scanLog(deps, rules, tenantId, signal);
    }
  },
}));

/** Never throws: after a failure the event is tried again. */
async function settleOne(deps: WorkerDeps, rules: readonly Rule[], event: EventDoc): Promise<void> {
  try {
    if (event.type === 'credential.usage.reported') await recordUsage(deps, event);
    else await judgeAlert(deps, rules, event);
  } catch (thrown) {
    await settleEvents(deps, [{ event, error: toAppError(thrown) }]).catch((err) =>
      deps.log.warn({ err, eventId: event._id }, 'an observation could not be judged; its event is tried again'),
    );
  }
}

/** The operation that settles the event, for a change that it is part of. When another worker has settled it, the change is stale. */
function ending(deps: WorkerDeps, event: EventDoc): Operation {
  const update = { _id: event._id, tenantId: event.tenantId, status: { $in: OPEN_EVENT_STATUSES } };
  return { in: 'events', update, set: settled(deps, null) };
}

/** Puts a reported use on the log: the rules see it there. */
async function recordUsage(deps: WorkerDeps, event: EventDoc): Promise<void> {
  const { ip, userAgent, at } = event.data as UsageData;
  const entry = await entryOf(deps, event, 'credential.usage_reported', {
    ip,
    userAgent,
    usedAt: at ?? event.receivedAt.toISOString(),
  });
  await deps.commit({ operations: [ending(deps, event)], entries: [entry] });
}

/** What an alert's event holds, whether it came by `POST /v1/events` or from an alert source. */
type AlertData = {
  confirmed: boolean;
  /** The token is one that was revoked before. */
  wasContained?: boolean;
  kind?: string;
  url?: string;
  alertId?: string;
  alertSource?: string;
  reference?: string;
};

async function judgeAlert(deps: WorkerDeps, rules: readonly Rule[], event: EventDoc): Promise<void> {
  const { tenantId, credentialId, principalId, receivedAt } = event;
  const data = event.data as AlertData;
  const alert = {
    // All that one principal reports within an hour is one alert: its automatic revocations are capped together.
    id: data.alertId ?? `${principalId}/${receivedAt.toISOString().slice(0, 13)}`,
    source: data.alertSource ?? principalId,
    kind: data.kind ?? null,
    url: withoutQuery(data.url),
    reference: data.reference ?? data.alertId ?? event._id,
  };
  const { id, reference, ...told } = alert;
  const entry = await entryOf(deps, event, 'alert.accepted', { ...told, confirmed: data.confirmed });
  const beside = { operations: [ending(deps, event)], entries: [entry] };
  const observed = { ...observationOf(entry), at: receivedAt.getTime() };
  const observations = data.wasContained === true ? [] : [observed];
  const batch = { tenantId, observations, before: Number.MAX_SAFE_INTEGER };
  const [first, ...others] = await judge(deps, rules, batch);
  if (!first) {
    await deps.commit(beside);
    return;
  }
  await fileFinding(deps, { ...first, tenantId, credentialId, alert }, beside);
  for (const other of others) await fileFinding(deps, { ...other, tenantId, credentialId, alert });
}

/** A query may hold the secret itself. */
function withoutQuery(value: string | undefined): string | null {
  const url = value === undefined ? null : URL.parse(value);
  return url && `${url.origin}${url.pathname}`;
}

async function entryOf(deps: WorkerDeps, event: EventDoc, type: string, detail: Entry['detail']): Promise<Entry> {
  const { tenantId, credentialId, principalId, origin } = event;
  const owner = credentialId && (await findCredentialOwner(deps.database, { tenantId, id: credentialId }));
  const isPrincipal = principalId.startsWith('prn_');
  return makeEntry(deps, {
    tenantId,
    type,
    actor: { kind: isPrincipal ? 'principal' : 'system', id: principalId, ...origin },
    credentialId,
    service: owner ? owner.service : null,
    subject: owner ? owner.subject : null,
    eventId: event._id,
    detail,
  });
}
