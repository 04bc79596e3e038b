/** HTTP POST with the signature, headers and manners of Standard Webhooks (https://www.standardwebhooks.com). */
import { z } from 'zod';
import { signWebhook } from '../../../platform/standard-webhooks.ts';
import { type DeliveryOutcome, defineSink } from '../contract.ts';
import { makeOutbound, outboundUrl } from '../outbound.ts';

const GONE = 410;

export const plugin = defineSink({
  name: 'webhook',
  about: 'POSTs each entry to a URL, signed by the Standard Webhooks scheme',
  secret: 'generated',
  batchSize: 1,
  concurrency: 4,

  settings: (config) =>
    z.strictObject({
      url: outboundUrl(config.allowPrivateWebhooks),
    }),

  create({ config, clock }) {
    const post = makeOutbound({
      allowPrivate: config.allowPrivateWebhooks,
      timeoutMs: config.callTimeoutMs,
      clock,
    });
    return {
      async deliver([message], { settings, secrets }, signal): Promise<DeliveryOutcome> {
        const { id, type, timestamp: at, data } = message!;
        const body = JSON.stringify({ type, timestamp: at, data });
        // The time of the attempt, not of the entry: a repetition days later must still be in the consumer's tolerance.
        const timestamp = String(Math.floor(clock.now() / 1_000));
        const headers = {
          'content-type': 'application/json',
          'user-agent': 'Keyturn',
          'webhook-id': id,
          'webhook-timestamp': timestamp,
          'webhook-signature': secrets.map((secret) => signWebhook(secret, { id, timestamp, body })).join(' '),
        };
        const reply = await post({ url: settings.url, headers, body, signal });
        if ('failed' in reply) {
          return reply.failed === 'interrupted' ? { kind: 'interrupted' } : { kind: 'retry', reason: reply.failed };
        }
        const { status, retryAfterMs } = reply;
        if (status >= 200 && status < 300) return { kind: 'delivered' };
        if (status === GONE) return { kind: 'disable', reason: 'gone', status };
        return { kind: 'retry', reason: 'status', status, ...(retryAfterMs !== undefined && { retryAfterMs }) };
      },
    };
  },
});
