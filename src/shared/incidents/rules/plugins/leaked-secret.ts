import type { Rule } from '../contract.ts';

/** Somebody reports that a secret was found where it should not be. */
export const plugin: Rule = {
  name: 'leaked-secret',
  about: 'a secret that someone has found outside: confirmed by the party that reports it, or suspected',
  watches: { 'alert.accepted': 'credential' },
  window: { types: [], ms: 0, most: 0 },
  judge: ({ detail, credentialId }) => {
    const confirmed = detail.confirmed === true;
    const what = credentialId === null ? 'A secret that names no credential of ours' : 'The secret of this credential';
    const where = typeof detail.url === 'string' ? ` at ${detail.url.slice(0, 200)}` : '';
    return {
      severity: confirmed ? 'critical' : 'medium',
      confidence: confirmed ? 'confirmed' : 'suspected',
      explanation: `${what} was reported ${confirmed ? 'as leaked' : 'as perhaps leaked'} by ${detail.source}${where}.`,
    };
  },
};
