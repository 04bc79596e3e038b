import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { AlertSource } from '../../src/shared/incidents/alerts/sources/contract.ts';
import { loadAlertSources } from '../../src/shared/incidents/alerts/sources/load.ts';
import { systemClock } from '../../src/shared/platform/clock.ts';
import { parseConfig } from '../../src/shared/platform/config/parse.ts';
import { AppError } from '../../src/shared/platform/errors.ts';
import { systemRandom } from '../../src/shared/platform/random.ts';

const CANARY = 'canary-2d9e41';

const config = parseConfig({
  MONGODB_URI: 'mongodb://127.0.0.1:1',
  REDIS_URL: 'redis://127.0.0.1:1',
  KEYTURN_GITHUB_PARTNER_KEYS_URL: 'http://127.0.0.1:1/keys',
});

/** Bodies that nobody signed. */
const BODIES: Record<string, Buffer> = {
  nothing: Buffer.alloc(0),
  'an object': Buffer.from(`{"token":"${CANARY}"}`),
  'a list': Buffer.from(`[{"token":"${CANARY}","type":"x"}]`),
  garbage: Buffer.from(`{"token":"${CANARY}`),
  'bytes that are no text': Buffer.from([0xff, 0xfe, 0x00]),
};

const HEADERS: Record<string, Record<string, string>> = {
  'no headers': {},
  'headers of all sources with signatures of nobody': {
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(Math.floor(Date.now() / 1_000)),
    'webhook-signature': `v1,${Buffer.alloc(32).toString('base64')}`,
    'x-hub-signature-256': `sha256=${'0'.repeat(64)}`,
    'x-github-delivery': '1',
    'x-github-event': 'secret_scanning_alert',
    'github-public-key-identifier': '0'.repeat(64),
    'github-public-key-signature': 'AAAA',
  },
  'signatures of odd forms': {
    'webhook-id': '',
    'webhook-timestamp': 'now',
    'webhook-signature': 'v1,',
    'x-hub-signature-256': 'sha256=',
    'x-github-delivery': '1',
    'github-public-key-identifier': '',
    'github-public-key-signature': '',
  },
};

describe.each([...(await loadAlertSources())])('%s', (name, plugin) => {
  const source = plugin.create({ clock: systemClock, config });
  const ways: [string, AlertSource['verifyShared']][] = [
    ['the address of a tenant', (delivery) => source.verify(delivery, [plugin.newSecret(systemRandom)])],
    ['the address of a tenant without a secret', (delivery) => source.verify(delivery, [])],
    ...(source.verifyShared
      ? [['the shared address', source.verifyShared] as [string, AlertSource['verifyShared']]]
      : []),
  ];

  test('says what it is, and makes a secret of its own each time, hidden in print', () => {
    expect(plugin.name).toBe(name);
    expect(plugin.about.length).toBeGreaterThan(10);
    const [one, two] = [plugin.newSecret(systemRandom), plugin.newSecret(systemRandom)];
    expect(one.reveal()).not.toBe(two.reveal());
    expect(Buffer.byteLength(one.reveal())).toBeGreaterThanOrEqual(32);
    expect(inspect(one)).toBe('[secret]');
  });

  describe.each(ways)('%s', (_, verify) => {
    describe.each(Object.keys(HEADERS))('with %s', (headers) => {
      test.each(Object.keys(BODIES))('refuses %s, for a reason, and quotes nothing of it', async (body) => {
        const delivery = { raw: BODIES[body]!, headers: HEADERS[headers]!, now: Date.now() };
        const error = await verify!(delivery).then(
          () => null,
          (thrown: unknown) => thrown,
        );
        expect(error).toBeInstanceOf(AppError);
        expect((error as AppError).internal).toMatch(/^(signature_missing|signature_mismatch|keys_unavailable)$/);
        expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(CANARY);
      });
    });
  });
});
