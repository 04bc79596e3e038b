import { describe, expect, test } from 'vitest';
import type { Observation } from '../../src/shared/incidents/rules/contract.ts';
import { loadRules } from '../../src/shared/incidents/rules/load.ts';

const CANARY = 'canary-7c30de';

function observationsOf(type: string): Observation[] {
  const outcomes = ['success', 'failure', 'denied'] as const;
  const reasons = [null, 'provider_grant_ended', 'refresh_outcome_unknown', 'compromise'];
  return outcomes.flatMap((outcome) =>
    reasons.map((reason, n) => ({
      type,
      outcome,
      reason,
      credentialId: n === 0 ? null : 'cred_1',
      principalId: n === 1 ? null : 'prn_1',
      ip: n === 2 ? null : '192.0.2.1',
      userAgent: n === 3 ? null : CANARY,
      detail: (n === 0 ? {} : { confirmed: n > 1, source: 'x', said: CANARY }) as Observation['detail'],
      at: 1_700_000_000_000,
    })),
  );
}

function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null) for (const inner of Object.values(value)) frozen(inner);
  return Object.freeze(value);
}

describe.each(await loadRules())('$name', (rule) => {
  const watched = Object.keys(rule.watches);
  const earlier = frozen(
    rule.window.types
      .flatMap(observationsOf)
      .map((observed, n) => ({ ...observed, at: observed.at - 1_000 * (200 - n) })),
  );
  const abouts = [true, false, null].map((rotatesRefreshTokens) => ({ rotatesRefreshTokens }));
  const inputs = watched.flatMap(observationsOf).flatMap((observed) =>
    abouts.flatMap((about) => [
      { observed: frozen(observed), earlier: [], about },
      { observed: frozen(observed), earlier, about },
    ]),
  );

  test('says what it is and what it looks at, within bounds', () => {
    expect(rule.name).toMatch(/^[a-z0-9-]{3,60}$/);
    expect(rule.about.length).toBeGreaterThan(10);
    expect(watched.length).toBeGreaterThan(0);
    expect(rule.window.most).toBeLessThanOrEqual(2_000);
    expect(rule.window.ms).toBeLessThanOrEqual(90 * 24 * 60 * 60_000);
  });

  test('judges alike whenever it is asked, changes nothing, and takes whatever it is given', () => {
    for (const { observed, earlier: window, about } of inputs) {
      expect(rule.judge(observed, window, about)).toEqual(rule.judge(observed, window, about));
    }
  });

  test('explains what it finds to a person, and quotes nothing that others chose', () => {
    for (const { observed, earlier: window, about } of inputs) {
      const finding = rule.judge(observed, window, about);
      if (!finding) continue;
      expect(['low', 'medium', 'high', 'critical']).toContain(finding.severity);
      expect(['suspected', 'confirmed']).toContain(finding.confidence);
      expect(finding.explanation).toMatch(/^[A-Z].{20,499}\.$/);
      expect(finding.explanation).not.toContain(CANARY);
    }
  });

  test('judges a full window', () => {
    const full = Array.from({ length: rule.window.most }, (_, n) => earlier[n % Math.max(1, earlier.length)]!).filter(
      Boolean,
    );
    for (const observed of observationsOf(watched[0]!)) {
      const finding = rule.judge(observed, full, { rotatesRefreshTokens: true });
      expect(finding === null || typeof finding.explanation === 'string').toBe(true);
    }
  });
});
