import { AppError } from '../errors.ts';

/** Channels of the `debug` package: simple-oauth2 prints client secrets to these, ioredis the arguments of AUTH. */
const LEAKING = [
  'simple-oauth2:client',
  'simple-oauth2:request-options',
  'simple-oauth2:access-token',
  'ioredis:redis',
  'ioredis:connection',
];

/** For start-up. Throws `config_invalid` when the value of `DEBUG` would make a library print secrets. */
export function assertNoSecretDebug(debugValue: string | undefined): void {
  const patterns = (debugValue ?? '').split(/[\s,]+/).filter(Boolean);
  const matches = (name: string, negated: boolean) =>
    patterns
      .filter((pattern) => pattern.startsWith('-') === negated)
      .some((pattern) => toRegExp(pattern.replace(/^-/, '')).test(name));
  if (LEAKING.some((name) => matches(name, false) && !matches(name, true))) {
    throw new AppError('config_invalid', {
      detail: 'DEBUG would make libraries print secrets; unset it, or add -simple-oauth2:*,-ioredis:* to it.',
    });
  }
}

function toRegExp(pattern: string): RegExp {
  const literal = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${literal.join('.*')}$`);
}
