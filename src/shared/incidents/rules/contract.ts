/** What a rule is. Each file in `plugins/` exports one as `plugin`; it is found by being there. */
import type { Entry } from '../../store/audit/inbox.ts';
import type { Finding } from '../finding.ts';

/** An entry of the log, as a rule sees it. `ip` and `userAgent` are of the one who used the secret. */
export type Observation = Pick<Entry, 'type' | 'credentialId' | 'outcome' | 'reason' | 'detail'> & {
  /** Milliseconds since the epoch. */
  at: number;
  /** Who acted; null when it was not a principal. */
  principalId: string | null;
  ip: string | null;
  userAgent: string | null;
};

/** Whose earlier observations a rule is given. */
export type Whose = 'credential' | 'principal';

/** What a rule is told besides observations. */
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
  /** Types of entries that make it look, and whose earlier observations it is given then. */
  readonly watches: Readonly<Record<string, Whose>>;
  /** Which earlier observations: their types, how far back (milliseconds), and how many at most, the newest. */
  readonly window: { readonly types: readonly string[]; readonly ms: number; readonly most: number };
  /** Pure. `earlier` is oldest first. Null: nothing is wrong. */
  judge(observed: Observation, earlier: readonly Observation[], about: About): Finding | null;
};

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
