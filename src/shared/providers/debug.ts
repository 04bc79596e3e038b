import { AppError } from '../errors.ts';

/** simple-oauth2 prints client secrets to these channels of the `debug` package. */
const LEAKING = ['simple-oauth2:client', 'simple-oauth2:request-options', 'simple-oauth2:access-token'];

/** For start-up. Throws `config_invalid` when the value of `DEBUG` would make simple-oauth2 print client secrets. */
export function assertNoSecretDebug(debugValue: string | undefined): void {
  const patterns = (debugValue ?? '').split(/[\s,]+/).filter(Boolean);
  const matches = (name: string, negated: boolean) =>
    patterns
      .filter((pattern) => pattern.startsWith('-') === negated)
      .some((pattern) => toRegExp(pattern.replace(/^-/, '')).test(name));
  if (LEAKING.some((name) => matches(name, false) && !matches(name, true))) {
    throw new AppError('config_invalid', {
      detail: 'DEBUG would make simple-oauth2 print client secrets; unset it, or add -simple-oauth2:* to it.',
    });
  }
}

function toRegExp(pattern: string): RegExp {
  const literal = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${literal.join('.*')}$`);
}
