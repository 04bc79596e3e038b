/** What a rule is. Each file in `rules/` is one; it is picked up by being there. */
import { loadPlugin, pluginNames } from '../../platform/plugins.ts';
import type { ChainedEntry } from '../../store/audit/entries.ts';
import type { Entry } from '../../store/audit/inbox.ts';
import type { Finding } from '../finding.ts';

/** An observation: an entry of the log, seen by a rule. `ip` and `userAgent` are those of whoever used the secret. */
export type Observation = Pick<Entry, 'type' | 'credentialId' | 'outcome' | 'reason' | 'detail'> & {
  /** Milliseconds since the epoch. */
  at: number;
  /** Who acted; null when it was not a principal. */
  principalId: string | null;
  ip: string | null;
  userAgent: string | null;
};

/** Whose earlier signals a rule is given. */
export type Whose = 'credential' | 'principal';

/** What a rule may know besides signals. */
export type About = {
  /** Whether the provider ends the old refresh token with every refresh; null where there is no credential. */
  rotatesRefreshTokens: boolean | null;
};

/** What each file exports as `plugin`. */
export type Rule = {
  /** File name without its ending. */
  readonly name: string;
  /** One line: what it finds. */
  readonly about: string;
  /** Types of entries that make it look, and whose earlier signals it is given then. */
  readonly watches: Readonly<Record<string, Whose>>;
  /** Which earlier signals: their types, how far back (milliseconds), and how many at most, the newest. */
  readonly window: { readonly types: readonly string[]; readonly ms: number; readonly most: number };
  /** Pure. `earlier` is oldest first. Null: nothing is wrong. */
  judge(signal: Observation, earlier: readonly Observation[], about: About): Finding | null;
};

const FOLDER = new URL('./plugins/', import.meta.url);

/** Every rule that there is. */
export async function loadRules(): Promise<Rule[]> {
  const names = await pluginNames(FOLDER, import.meta.url);
  return Promise.all(names.map((name) => loadPlugin<Rule>(FOLDER, import.meta.url, 'rule', name)));
}

/** An entry as rules see it. Where the use of a secret is reported, its place is in the detail, not the reporter's. */
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

/** The network of an address: /24 of IPv4, /48 of IPv6. Null for what is no address. */
export function networkOf(ip: string | null): string | null {
  if (ip === null) return null;
  const v4 = /^(?:::ffff:)?(\d{1,3}\.\d{1,3}\.\d{1,3})\.\d{1,3}$/i.exec(ip);
  if (v4) return `${v4[1]}.0/24`;
  if (!ip.includes(':')) return null;
  const [head = '', tail] = ip.toLowerCase().split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const gap = tail === undefined ? [] : Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0');
  const groups = [...left, ...gap, ...right].slice(0, 3).map((group) => group.replace(/^0+(?=.)/, ''));
  return `${groups.join(':')}::/48`;
}
