import { networkOf, type Observation, type Rule } from '../contract.ts';

const DAY_MS = 24 * 60 * 60_000;
const GOOD = new Set(['credential.activated', 'credential.refreshed']);

/**
 * The provider ended a grant although we presented the newest refresh token that it gave us. Where a provider rotates refresh
 * tokens, that is the sign of theft (RFC 9700 §4.14.2): somebody else used the token. There are two innocent explanations. The
 * person withdrew consent; a use of the token from where it was never released to tells theft from that. Or an earlier attempt
 * of ours spent the token without our knowing: then it is a race of our own, and no thief is needed to explain it.
 */
export const plugin: Rule = {
  name: 'refresh-token-replay',
  about: 'a grant that ended under our newest refresh token: theft, or a race of our own',
  watches: { 'credential.reauthorization_required': 'credential' },
  window: {
    types: [
      'credential.activated',
      'credential.refreshed',
      'credential.refresh_failed',
      'credential.usage_reported',
      'credential.accessed',
    ],
    ms: 30 * DAY_MS,
    most: 500,
  },
  judge: (observed, earlier, { rotatesRefreshTokens }) => {
    if (observed.reason === 'refresh_outcome_unknown') return race('a worker died between the refresh and its record');
    if (observed.reason !== 'provider_grant_ended' || rotatesRefreshTokens !== true) return null;
    const lastGood = earlier.findLastIndex(({ type }) => GOOD.has(type));
    if (lastGood === -1) return null;
    const since = earlier.slice(lastGood + 1);
    const unclear = since.find(isUnclearAttempt);
    if (unclear) return race(`an attempt before ended with ${unclear.reason}, so our own token may have been spent`);
    if (earlier[lastGood]!.reason === 'recovered_from_journal') return race('the answer before had to be recovered');
    return theft(strangers(earlier));
  },
};

/** A failure without a clear answer: the provider may have spent the token all the same. */
function isUnclearAttempt({ type, reason }: Observation): boolean {
  const isAnswer = reason === 'provider_throttled' || reason === 'provider_misconfigured';
  return type === 'credential.refresh_failed' && !isAnswer;
}

function race(why: string) {
  return {
    severity: 'low' as const,
    confidence: 'suspected' as const,
    explanation: `The grant ended by a race of our own, most likely: ${why}. The person must consent again.`,
  };
}

function theft(strangeNetworks: number) {
  const seen = strangeNetworks > 0;
  return {
    severity: seen ? ('critical' as const) : ('high' as const),
    confidence: seen ? ('confirmed' as const) : ('suspected' as const),
    explanation: seen
      ? `The provider ended the grant although we presented our newest refresh token, and the token was used from ${strangeNetworks} network(s) that it is never released to: it was stolen.`
      : 'The provider ended the grant although we presented our newest refresh token and no attempt of ours was in doubt: someone else used it, or the person withdrew consent.',
  };
}

/** How many networks a use was reported from that no release went to, by an agent that no release went to. */
function strangers(observations: readonly Observation[]): number {
  const released = observations.filter(({ type }) => type === 'credential.accessed');
  if (released.length === 0) return 0;
  const networks = new Set(released.map(({ ip }) => networkOf(ip)));
  const agents = new Set(released.map(({ userAgent }) => userAgent));
  const strange = observations.filter(
    ({ type, ip, userAgent }) =>
      type === 'credential.usage_reported' && !networks.has(networkOf(ip)) && !agents.has(userAgent),
  );
  return new Set(strange.map(({ ip }) => networkOf(ip))).size;
}
