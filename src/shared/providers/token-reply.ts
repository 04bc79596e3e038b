import { z } from 'zod';
import { Secret } from '../platform/secret.ts';
import type { TokenReply } from './contract.ts';
import { type FailureContext, noReply, replyFailure } from './errors.ts';
import type { OAuthQuirks } from './quirks.ts';

const lenientNumber = z
  .union([z.number(), z.string().trim().regex(/^\d+$/).transform(Number)])
  .optional()
  .catch(undefined);
const lenientText = z.string().min(1).optional().catch(undefined);

/**
 * RFC 6749 §5.1. Only the access token is demanded: a reply with a strange expiry or scope still carries tokens that
 * may be the last of their grant, so nothing else in it is a reason to throw them away.
 */
const replySchema = z.object({
  access_token: z.string().min(1),
  refresh_token: lenientText,
  id_token: lenientText,
  token_type: lenientText,
  scope: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .catch(undefined),
  expires_in: lenientNumber,
  /** simple-oauth2 has made a Date of it, reading numbers as seconds. */
  expires_at: z.date().optional().catch(undefined),
  refresh_token_expires_in: lenientNumber,
  refresh_expires_in: lenientNumber,
});

type Reply = z.infer<typeof replySchema>;
export type ReplyQuirks = Pick<OAuthQuirks, 'tokenPath' | 'expiryUnit' | 'metadata' | 'scopeSeparator'>;

/**
 * A provider's token reply, validated and made uniform. `previous` is the refresh token that was sent: it stays valid
 * when the reply brings none (RFC 6749 §6). A 200 that reports an error throws what the error means.
 */
export function readTokenReply(
  raw: unknown,
  quirks: ReplyQuirks,
  context: FailureContext,
  previous?: Secret,
): TokenReply {
  const whole = fromForm(raw);
  const holder = quirks.tokenPath ? at(whole, quirks.tokenPath) : whole;
  const parsed = replySchema.safeParse(holder);
  if (!parsed.success || at(whole, ['ok']) === false) throw noTokens(whole, context);
  const reply = parsed.data;
  const refreshToken = reply.refresh_token ? new Secret(reply.refresh_token) : previous;
  const refreshSeconds = reply.refresh_token_expires_in ?? reply.refresh_expires_in;
  return {
    material: {
      accessToken: new Secret(reply.access_token),
      ...(refreshToken && { refreshToken }),
      ...(reply.id_token && { idToken: new Secret(reply.id_token) }),
    },
    tokenType: reply.token_type ?? 'Bearer',
    expiresAt: expiryOf(reply, quirks.expiryUnit === 'milliseconds' ? 1 : 1000, context.nowMs),
    refreshExpiresAt: after(refreshSeconds, 1000, context.nowMs),
    scopes: scopesOf(reply.scope, quirks.scopeSeparator),
    metadata: metadataOf(whole, quirks.metadata ?? []),
  };
}

function noTokens(whole: unknown, context: FailureContext): Error {
  if (at(whole, ['error'])) return replyFailure({ status: 400, body: whole }, context);
  return noReply('a reply without an access token', context);
}

/** A numeric `expires_at` in milliseconds has come through as seconds: 1000 times too late. */
const FAR_FUTURE_MS = 1e14;

function expiryOf(reply: Reply, unitMs: number, nowMs: number): number | null {
  if (reply.expires_in !== undefined) return after(reply.expires_in, unitMs, nowMs);
  const at = reply.expires_at?.getTime() ?? 0;
  if (!(at > 0)) return null;
  return at > FAR_FUTURE_MS ? Math.round(at / 1000) : at;
}

/** Beyond this, in seconds, a duration (31 years) is really a point in time. */
const EPOCH_SECONDS = 1e9;

function after(amount: number | undefined, unitMs: number, nowMs: number): number | null {
  if (amount === undefined || !(amount > 0) || !Number.isFinite(amount)) return null;
  const ms = amount * unitMs;
  if (ms < EPOCH_SECONDS * 1000) return nowMs + Math.round(ms);
  return Math.round(ms > FAR_FUTURE_MS ? ms / 1000 : ms);
}

function scopesOf(scope: string | string[] | undefined, separator: string): string[] | null {
  if (scope === undefined || scope === '') return null;
  if (Array.isArray(scope)) return scope;
  return scope.split(separator === ' ' ? /\s+/ : /[\s,]+/).filter((name) => name !== '');
}

const MAX_METADATA_CHARS = 512;

function metadataOf(whole: unknown, paths: string[]): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const path of paths) {
    const value = at(whole, path.split('.'));
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
      kept[path.replaceAll('.', '_')] = String(value).slice(0, MAX_METADATA_CHARS);
    }
  }
  return kept;
}

function at(value: unknown, path: string[]): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, key)) return undefined;
    current = (current as Record<string, unknown>)[key];
  }
  return current;
}

/**
 * simple-oauth2 hands on a body that is not JSON as an object of its bytes. A provider that ignores our Accept header
 * answers in form encoding: the tokens in it are as good, and perhaps the last of their grant.
 */
function fromForm(raw: unknown): unknown {
  if (typeof at(raw, ['0']) !== 'number') return raw;
  const { expires_at: _, ...bytes } = raw as Record<string, number>;
  return Object.fromEntries(new URLSearchParams(Buffer.from(Object.values(bytes)).toString()));
}
