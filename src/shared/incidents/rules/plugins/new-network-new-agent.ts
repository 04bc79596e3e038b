import { networkOf, type Observation, type Rule } from '../contract.ts';

const DAY_MS = 24 * 60 * 60_000;
/** With fewer earlier uses than this nothing is usual yet. */
const ENOUGH = 10;

/**
 * A secret is used from a network (/24, /48) and by an agent that are both new. One of the two alone happens every day: a
 * deployment changes the agent, a move changes the network.
 */
export const plugin: Rule = {
  name: 'new-network-new-agent',
  about:
    'a use from a network and by an agent that are both new: of a credential as reported, or of an API key on release',
  watches: { 'credential.usage_reported': 'credential', 'credential.accessed': 'principal' },
  window: { types: ['credential.usage_reported', 'credential.accessed'], ms: 30 * DAY_MS, most: 500 },
  judge: (observed, earlier) => {
    const network = networkOf(observed.ip);
    if (network === null || observed.userAgent === null || observed.outcome !== 'success') return null;
    // Releases tell where our own callers are; reports tell where the token itself is used. The two are not compared.
    const usual = earlier.filter(({ type, outcome }) => type === observed.type && outcome === 'success');
    if (usual.length < ENOUGH || isKnown(observed, network, usual)) return null;
    const networks = new Set(usual.map(({ ip }) => networkOf(ip))).size;
    return {
      severity: 'high',
      confidence: 'suspected',
      explanation: `Used from ${network} by an agent never seen before; the last ${usual.length} uses came from ${networks} other network(s).`,
    };
  },
};

function isKnown({ userAgent }: Observation, network: string, usual: readonly Observation[]): boolean {
  return usual.some((one) => one.userAgent === userAgent || networkOf(one.ip) === network);
}
