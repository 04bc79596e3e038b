/**
 * What is done with a verified delivery before it is answered. Every leak that is about one of our credentials becomes a
 * durable event (promise 2). Where the leak is confirmed, the credential's release is stopped here, without waiting for a worker.
 */

import { blockRelease } from '../../credentials/quarantine.ts';
import { fileEvents, type IntakeDeps, newEvent, type PreparedEvent } from '../../events/accept.ts';
import { toAppError } from '../../platform/errors.ts';
import type { Deps } from '../../runtime/deps.ts';
import type { Entry } from '../../store/audit/inbox.ts';
import type { Origin } from '../../store/base/document.ts';
import { makeEntry } from '../../store/entry.ts';
import type { EventDoc } from '../../store/lifecycle/events.ts';
import { type Match, matchEverywhere, matchInTenant } from './match.ts';
import type { LeakResult, ReportedLeak, VerifiedDelivery } from './sources/contract.ts';

export type AlertDeps = IntakeDeps & Pick<Deps, 'commit'>;

/** The address that a delivery came to: one tenant's source, or the shared one (`tenantId` null). */
export type Sent = {
  sourceId: string;
  source: string;
  tenantId: string | null;
  origin: Origin;
  traceparent: string | null;
};

/** The `source` of events that are made of alerts begins with this. */
export const ALERT_EVENTS = 'keyturn:alerts';

/** One leak in one tenant. `index` is its place in the delivery. `match` null: it names nothing that could be looked up. */
type Case = { index: number; tenantId: string; match: Match | null };

/** One result per leak, in order. Throws `store_unavailable`, `key_unavailable`, `overloaded`; the party then sends it again. */
export async function acceptLeaks(deps: AlertDeps, sent: Sent, delivery: VerifiedDelivery): Promise<LeakResult[]> {
  const { leaks } = delivery;
  const cases = await casesOf(deps, sent, leaks);
  const prepared = await Promise.all(cases.map((one) => prepare(deps, sent, delivery, one)));
  const duplicates = await fileEvents(deps, prepared);
  const results: LeakResult[] = leaks.map(() => ({ status: 'unmatched', eventId: null }));
  for (const [position, { doc }] of prepared.entries()) {
    const first = duplicates.get(doc._id);
    const { index } = cases[position]!;
    // At the shared address one leak may be a case in several tenants. When it is new in one of them, it is new.
    if (results[index]!.status === 'accepted') continue;
    results[index] = { status: first ? 'duplicate' : 'accepted', eventId: first ?? doc._id };
  }
  const fresh = prepared.filter(({ doc }) => !duplicates.has(doc._id)).map(({ doc }) => doc);
  await Promise.all(fresh.map((doc) => stopRelease(deps, sent, doc)));
  await recordUnmatched(deps, sent, leaks, results);
  return results;
}

async function casesOf(deps: AlertDeps, sent: Sent, leaks: readonly ReportedLeak[]): Promise<Case[]> {
  const { tenantId } = sent;
  if (tenantId === null) {
    const found = await matchEverywhere(deps, leaks);
    return found.flatMap((matches, index) => matches.map((match) => ({ index, tenantId: match.tenantId, match })));
  }
  const matches = await matchInTenant(deps, tenantId, leaks);
  return matches.flatMap((match, index) => (match || !isNamed(leaks[index]!) ? [{ index, tenantId, match }] : []));
}

function isNamed({ token, fingerprint, credentialId }: ReportedLeak): boolean {
  return token !== undefined || fingerprint !== undefined || credentialId !== undefined;
}

async function prepare(deps: AlertDeps, sent: Sent, delivery: VerifiedDelivery, one: Case): Promise<PreparedEvent> {
  const { tenantId, index, match } = one;
  const { kind, url, reference, confirmed } = delivery.leaks[index]!;
  const { sourceId, source, origin, traceparent } = sent;
  const event = {
    specversion: '1.0' as const,
    id: `${delivery.id}/${index}`.slice(0, 255),
    source: `${ALERT_EVENTS}/${sourceId}`,
    type: 'security.alert.reported',
    data: {},
  };
  const principal = { _id: sourceId, tenantId, permissions: [] };
  const data = {
    ...(match && { credentialId: match.credentialId }),
    confirmed,
    wasContained: match?.wasContained ?? false,
    alertId: `${sourceId}/${delivery.id}`.slice(0, 300),
    alertSource: source,
    ...(kind !== null && { kind }),
    ...(url !== null && { url }),
    ...(reference !== null && { reference }),
  };
  const credentialId = match?.credentialId ?? null;
  const doc = await newEvent(deps, { principal, origin, traceparent }, event, { data, secrets: [], credentialId });
  return { doc, queue: 'detect', urgent: true };
}

/** Stops the release of a confirmed leak at once. When this fails, or the process dies here, the `detect` worker does it: the event is durable. */
async function stopRelease(deps: AlertDeps, { sourceId, origin }: Sent, doc: EventDoc): Promise<void> {
  const { tenantId, credentialId, data } = doc;
  if (credentialId === null || data.confirmed !== true || data.wasContained === true) return;
  const actor = { kind: 'system' as const, id: sourceId, ...origin };
  const why = { reason: `alert ${doc._id}`, actor, eventId: doc._id };
  await blockRelease(deps, { tenantId, credentialId }, why).catch((error) =>
    deps.log.warn({ code: toAppError(error).code, eventId: doc._id }, 'a release was not stopped at the edge'),
  );
}

/** Puts leaks that are not about a credential of this tenant on the log, without the leaked strings. At most 100 entries. */
async function recordUnmatched(
  deps: AlertDeps,
  { tenantId, sourceId, origin }: Sent,
  leaks: readonly ReportedLeak[],
  results: LeakResult[],
): Promise<void> {
  if (tenantId === null) return;
  const unmatched = leaks.filter((_, index) => results[index]!.status === 'unmatched');
  if (unmatched.length === 0) return;
  const entries: Entry[] = unmatched.slice(0, 100).map(({ kind, url }) =>
    makeEntry(deps, {
      tenantId,
      type: 'alert.unmatched',
      actor: { kind: 'system', id: sourceId, ...origin },
      outcome: 'failure',
      detail: { kind, url, unmatched: unmatched.length },
    }),
  );
  await deps.commit({ operations: [], entries });
}
