import { randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';

export type Signing = { secret: string; id?: string; at?: Date };

/** Headers of the Standard Webhooks scheme over `payload`, made by the scheme's own library. */
export function signedHeaders(payload: string, { secret, id, at = new Date() }: Signing): Record<string, string> {
  const messageId = id ?? `msg_${randomBytes(12).toString('hex')}`;
  return {
    'webhook-id': messageId,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
    'webhook-signature': new Webhook(secret).sign(messageId, at, payload),
  };
}
