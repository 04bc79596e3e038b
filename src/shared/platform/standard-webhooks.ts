/** Signatures of the Standard Webhooks scheme, v1 (https://www.standardwebhooks.com): HMAC-SHA-256 of `id.timestamp.body`. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { AppError } from './errors.ts';
import type { Random } from './random.ts';
import { Secret } from './secret.ts';

/** How far the sender's clock may be from ours. Milliseconds. */
export const TOLERANCE_MS = 5 * 60_000;

const PREFIX = 'whsec_';

/** A new signing secret: `whsec_` and 32 random bytes in base64. */
export function newWebhookSecret(random: Pick<Random, 'bytes'>): Secret {
  return new Secret(`${PREFIX}${random.bytes(32).toString('base64')}`);
}

export type SignedParts = {
  id: string;
  /** Seconds since the epoch, as in the header. */
  timestamp: string;
  body: Buffer | string;
};

/** The signature as it stands in the header: `v1,<base64>`. Throws `config_invalid` on a secret of the wrong form. */
export function signWebhook(secret: Secret, { id, timestamp, body }: SignedParts): string {
  const mac = createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.`).update(body).digest('base64');
  return `v1,${mac}`;
}

function keyOf(secret: Secret): Buffer {
  const text = secret.reveal();
  const key = Buffer.from(text.slice(PREFIX.length), 'base64');
  if (text.startsWith(PREFIX) && key.length >= 24 && key.length <= 64) return key;
  throw new AppError('config_invalid', { detail: 'A signing secret is whsec_ and 24 to 64 bytes in base64.' });
}

export type WebhookVerdict = 'valid' | 'headers_missing' | 'time_out_of_range' | 'signature_mismatch';

/**
 * Whether one of the secrets made one of the signatures in `webhook-signature` (several while a secret rotates), and the
 * time is within `toleranceMs` of `now` (milliseconds). Constant time.
 */
export function checkWebhook(
  secrets: readonly Secret[],
  headers: Readonly<Record<string, string | undefined>>,
  body: Buffer,
  now: number,
  toleranceMs = TOLERANCE_MS,
): WebhookVerdict {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': given } = headers;
  if (!id || !given || !timestamp || !/^\d{1,12}$/.test(timestamp)) return 'headers_missing';
  const signatures = given.split(' ');
  const matches = secrets.some((secret) => {
    const expected = Buffer.from(signWebhook(secret, { id, timestamp, body }));
    return signatures.some((signature) => isSame(expected, Buffer.from(signature)));
  });
  if (!matches) return 'signature_mismatch';
  return Math.abs(now - Number(timestamp) * 1_000) > toleranceMs ? 'time_out_of_range' : 'valid';
}

function isSame(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
