import type { ChainedEntry } from '../../store/audit/entries.ts';
import type { Entry } from '../../store/audit/inbox.ts';
import type { Observation } from './contract.ts';

/** An entry as rules see it. Of a reported use, time and place are in the detail; the actor is only the one who reported it. */
export function observationOf(entry: Entry | ChainedEntry): Observation {
  const { type, credentialId, outcome, reason, detail, actor } = entry;
  const usedAt = typeof detail.usedAt === 'string' ? Date.parse(detail.usedAt) : Number.NaN;
  return {
    type,
    credentialId,
    outcome,
    reason,
    detail,
    at: Number.isNaN(usedAt) ? entry.at.getTime() : usedAt,
    principalId: actor.kind === 'principal' ? actor.id : null,
    ip: typeof detail.ip === 'string' ? detail.ip : (actor.ip ?? null),
    userAgent: typeof detail.userAgent === 'string' ? detail.userAgent : (actor.userAgent ?? null),
  };
}
