import { readFileSync } from 'node:fs';
import { Webhook } from 'standardwebhooks';
import { describe, expect, test } from 'vitest';
import { systemRandom } from '../../src/shared/platform/random.ts';
import { Secret } from '../../src/shared/platform/secret.ts';
import { checkWebhook, newWebhookSecret, signWebhook } from '../../src/shared/platform/standard-webhooks.ts';

const { standardWebhooks: vector } = JSON.parse(
  readFileSync(new URL('../vectors/signatures.json', import.meta.url), 'utf8'),
);
const secret = new Secret(vector.key);
const now = vector.ts * 1_000;
const headers = {
  'webhook-id': vector.id,
  'webhook-timestamp': String(vector.ts),
  'webhook-signature': vector.sig,
};
const body = Buffer.from(vector.body);

describe('a Standard Webhooks signature', () => {
  test('is the documented one', () => {
    expect(signWebhook(secret, { id: vector.id, timestamp: String(vector.ts), body })).toBe(vector.sig);
  });

  test('is the one that the official library makes', () => {
    const own = newWebhookSecret(systemRandom);
    const theirs = new Webhook(own.reveal()).sign('msg_1', new Date(now), 'text');
    expect(signWebhook(own, { id: 'msg_1', timestamp: String(vector.ts), body: 'text' })).toBe(theirs);
  });

  test('is valid at its time, also beside others and under one of two secrets', () => {
    expect(checkWebhook([secret], headers, body, now)).toBe('valid');
    const several = { ...headers, 'webhook-signature': `v1,AAAA v1a,BBBB ${vector.sig}` };
    expect(checkWebhook([newWebhookSecret(systemRandom), secret], several, body, now)).toBe('valid');
  });

  test.each([
    ['another secret', { secrets: [newWebhookSecret(systemRandom)] }, 'signature_mismatch'],
    ['no secret', { secrets: [] }, 'signature_mismatch'],
    ['another body', { body: Buffer.from(`${vector.body} `) }, 'signature_mismatch'],
    ['another id', { headers: { ...headers, 'webhook-id': 'msg_2' } }, 'signature_mismatch'],
    ['another time', { headers: { ...headers, 'webhook-timestamp': String(vector.ts + 1) } }, 'signature_mismatch'],
    ['no header', { headers: {} }, 'headers_missing'],
    ['no number as time', { headers: { ...headers, 'webhook-timestamp': '1e9' } }, 'headers_missing'],
    ['6 minutes later', { now: now + 360_000 }, 'time_out_of_range'],
    ['6 minutes early', { now: now - 360_000 }, 'time_out_of_range'],
  ])('with %s is refused', (_, changed, verdict) => {
    const given = { secrets: [secret], headers, body, now, ...changed };
    expect(checkWebhook(given.secrets, given.headers, given.body, given.now)).toBe(verdict);
  });
});
