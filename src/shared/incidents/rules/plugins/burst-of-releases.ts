import type { Observation, Rule } from '../contract.ts';

const RELEASED = 'credential.accessed';
const BURST_MS = 60_000;
/** Distinct credentials within a minute that make a burst, at least. */
const DISTINCT = 50;
/** A burst has this many times the credentials of the principal's busiest minute before it. */
const TIMES = 4;

/** One principal fetches the tokens of many credentials at once: what a thief of an API key does first. */
export const plugin: Rule = {
  name: 'burst-of-releases',
  about: `one principal releases ${DISTINCT} or more distinct credentials within a minute, ${TIMES} times what it did before`,
  watches: { [RELEASED]: 'principal' },
  window: { types: [RELEASED], ms: 60 * 60_000, most: 2_000 },
  judge: (observed, earlier) => {
    const since = observed.at - BURST_MS;
    const recent = distinct([...earlier.filter(({ at }) => at > since), observed]);
    if (recent < DISTINCT) return null;
    const before = busiestMinute(earlier.filter(({ at }) => at <= since));
    if (recent < before * TIMES) return null;
    return {
      severity: 'high',
      confidence: 'suspected',
      explanation: `One principal released ${recent} distinct credentials within a minute; its busiest minute in the hour before had ${before}.`,
    };
  },
};

function distinct(observations: readonly Observation[]): number {
  return new Set(observations.filter(isRelease).map(({ credentialId }) => credentialId)).size;
}

function isRelease({ type, outcome }: Observation): boolean {
  return type === RELEASED && outcome === 'success';
}

function busiestMinute(observations: readonly Observation[]): number {
  const minutes = Map.groupBy(observations, ({ at }) => Math.floor(at / BURST_MS));
  return Math.max(0, ...[...minutes.values()].map(distinct));
}
