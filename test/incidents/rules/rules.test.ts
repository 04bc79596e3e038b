import { describe, expect, test } from 'vitest';
import { type About, networkOf, type Observation } from '../../../src/shared/incidents/rules/contract.ts';
import { plugin as burst } from '../../../src/shared/incidents/rules/plugins/burst-of-releases.ts';
import { plugin as leaked } from '../../../src/shared/incidents/rules/plugins/leaked-secret.ts';
import { plugin as newNetwork } from '../../../src/shared/incidents/rules/plugins/new-network-new-agent.ts';
import { plugin as replay } from '../../../src/shared/incidents/rules/plugins/refresh-token-replay.ts';

const NOW = Date.UTC(2026, 0, 1);
const MINUTE = 60_000;
const ROTATES: About = { rotatesRefreshTokens: true };
const UNKNOWN: About = { rotatesRefreshTokens: null };

function observation(type: string, fields: Partial<Observation> = {}): Observation {
  return {
    type,
    credentialId: 'cred_1',
    outcome: 'success',
    reason: null,
    detail: {},
    at: NOW,
    principalId: null,
    ip: null,
    userAgent: null,
    ...fields,
  };
}

const release = (fields: Partial<Observation> = {}) =>
  observation('credential.accessed', { principalId: 'prn_1', ip: '10.0.0.1', userAgent: 'app/1', ...fields });
const usage = (fields: Partial<Observation> = {}) =>
  observation('credential.usage_reported', { ip: '10.0.0.1', userAgent: 'app/1', ...fields });
const refreshed = (fields: Partial<Observation> = {}) => observation('credential.refreshed', fields);
const failed = (reason: string) => observation('credential.refresh_failed', { outcome: 'failure', reason });
const ended = (reason = 'provider_grant_ended') =>
  observation('credential.reauthorization_required', { outcome: 'failure', reason });
const times = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, n) => make(n));

describe('leaked-secret', () => {
  test('takes a confirmed report at its word, and leaves another to a person', () => {
    const judge = (confirmed: boolean) =>
      leaked.judge(observation('alert.accepted', { detail: { confirmed, source: 'github' } }), [], UNKNOWN);
    expect(judge(true)).toMatchObject({ severity: 'critical', confidence: 'confirmed' });
    expect(judge(false)).toMatchObject({ severity: 'medium', confidence: 'suspected' });
  });
});

describe('refresh-token-replay', () => {
  const judge = (last: Observation, earlier: Observation[], about = ROTATES) => replay.judge(last, earlier, about);

  test('suspects theft when the newest token is refused and no attempt of ours was in doubt', () => {
    expect(judge(ended(), [refreshed(), refreshed()])).toMatchObject({ severity: 'high', confidence: 'suspected' });
  });

  test('is sure of theft when the token was also used from where it is never released to', () => {
    const stranger = usage({ ip: '203.0.113.9', userAgent: 'curl/8' });
    expect(judge(ended(), [refreshed(), release(), stranger])).toMatchObject({
      severity: 'critical',
      confidence: 'confirmed',
    });
    const known = usage({ ip: '10.0.0.9', userAgent: 'curl/8' });
    expect(judge(ended(), [refreshed(), release(), known])).toMatchObject({
      confidence: 'suspected',
      severity: 'high',
    });
  });

  test.each([
    ['an attempt that got no clear answer', [refreshed(), failed('provider_unavailable')]],
    ['an attempt that was interrupted', [refreshed(), failed('interrupted')]],
    ['an answer that had to be recovered', [refreshed({ reason: 'recovered_from_journal' })]],
  ])('calls it a race of our own after %s', (_, earlier) => {
    const finding = judge(ended(), earlier);
    expect(finding).toMatchObject({ severity: 'low', confidence: 'suspected' });
    expect(finding?.explanation).toMatch(/race of our own/);
  });

  test('calls an unknown outcome a race, whatever was used from where', () => {
    const stranger = usage({ ip: '203.0.113.9', userAgent: 'curl/8' });
    expect(judge(ended('refresh_outcome_unknown'), [refreshed(), release(), stranger])).toMatchObject({
      severity: 'low',
    });
  });

  test('an old doubt that a success has settled since is no excuse', () => {
    expect(judge(ended(), [failed('provider_unavailable'), refreshed()])).toMatchObject({ severity: 'high' });
    expect(judge(ended(), [refreshed(), failed('provider_throttled')])).toMatchObject({ severity: 'high' });
  });

  test('finds nothing where refresh tokens are not rotated, or where we did it ourselves', () => {
    expect(judge(ended(), [refreshed()], { rotatesRefreshTokens: false })).toBeNull();
    expect(judge(ended(), [refreshed()], UNKNOWN)).toBeNull();
    expect(judge(ended('compromise'), [refreshed()])).toBeNull();
    expect(judge(ended(), [])).toBeNull();
  });
});

describe('new-network-new-agent', () => {
  const history = times(10, () => usage());
  const judge = (last: Observation, earlier = history) => newNetwork.judge(last, earlier, UNKNOWN);

  test('finds a use whose network and agent are both new', () => {
    expect(judge(usage({ ip: '203.0.113.9', userAgent: 'curl/8' }))).toMatchObject({ confidence: 'suspected' });
    expect(judge(usage({ ip: '2001:db8::1', userAgent: 'curl/8' }))).not.toBeNull();
  });

  test.each([
    ['a new agent in a known network', usage({ ip: '10.0.0.200', userAgent: 'app/2' }), history],
    ['a known agent in a new network', usage({ ip: '203.0.113.9' }), history],
    ['too little history', usage({ ip: '203.0.113.9', userAgent: 'curl/8' }), history.slice(1)],
    ['history of another kind', usage({ ip: '203.0.113.9', userAgent: 'curl/8' }), times(20, () => release())],
    ['no address', usage({ ip: null, userAgent: 'curl/8' }), history],
  ])('finds nothing in %s', (_, last, earlier) => {
    expect(judge(last, earlier)).toBeNull();
  });

  test('a refused use makes nothing usual', () => {
    const tried = times(5, () => release({ ip: '203.0.113.9', userAgent: 'curl/8', outcome: 'denied' }));
    const earlier = [...times(10, () => release()), ...tried];
    expect(judge(release({ ip: '203.0.113.9', userAgent: 'curl/8' }), earlier)).not.toBeNull();
  });
});

describe('burst-of-releases', () => {
  const many = (count: number, at: number, prefix = 'cred') =>
    times(count, (n) => release({ credentialId: `${prefix}_${n}`, at }));
  const judge = (earlier: Observation[], last = release({ credentialId: 'cred_last' })) =>
    burst.judge(last, earlier, UNKNOWN);

  test('finds 50 distinct credentials within a minute', () => {
    expect(judge(many(49, NOW - 1_000))).toMatchObject({ severity: 'high', confidence: 'suspected' });
    expect(judge(many(48, NOW - 1_000))).toBeNull();
  });

  test('finds nothing in many releases of few credentials, in refusals, or over a longer time', () => {
    expect(judge(times(500, (n) => release({ credentialId: `cred_${n % 10}`, at: NOW - 1_000 })))).toBeNull();
    expect(judge(many(60, NOW - 1_000).map((one) => ({ ...one, outcome: 'denied' as const })))).toBeNull();
    expect(judge(times(60, (n) => release({ credentialId: `cred_${n}`, at: NOW - n * 2_000 })))).toBeNull();
  });

  test('finds nothing in what the principal does every day', () => {
    expect(judge([...many(40, NOW - 20 * MINUTE, 'old'), ...many(60, NOW - 1_000)])).toBeNull();
    expect(judge([...many(10, NOW - 20 * MINUTE, 'old'), ...many(60, NOW - 1_000)])).not.toBeNull();
  });
});

test.each([
  ['192.0.2.7', '192.0.2.0/24'],
  ['::ffff:192.0.2.7', '192.0.2.0/24'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1::/48'],
  ['2001:0DB8:0001::6', '2001:db8:1::/48'],
  ['::1', '0:0:0::/48'],
  ['fe80::', 'fe80:0:0::/48'],
  ['unix', null],
  [null, null],
])('the network of %s is %s', (ip, network) => {
  expect(networkOf(ip)).toBe(network);
});
