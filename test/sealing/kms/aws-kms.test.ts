import { afterEach, describe, expect, test } from 'vitest';
import type { Config } from '../../../src/shared/platform/config/parse.ts';
import { systemRandom } from '../../../src/shared/platform/random.ts';
import { plugin } from '../../../src/shared/sealing/key-providers/plugins/aws-kms.ts';
import { code, handClock } from '../support.ts';
import './credentials.ts';
import { kmsError, startKmsStandIn } from './stand-in.ts';

const deps = { clock: handClock(), random: systemRandom };
const context = { tenantId: 'ten_a', purpose: 'seal' as const, version: 1 };
const ARN = 'arn:aws:kms:eu-central-1:000000000000:key/0';
const wrapped = { keyId: ARN, ciphertext: Buffer.alloc(80).toString('base64') };

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

async function answering(reply: ReturnType<typeof kmsError>) {
  const { endpoint, stop } = await startKmsStandIn(() => reply);
  stops.push(stop);
  return plugin.create({ awsKmsKeyId: ARN, awsKmsEndpoint: endpoint } as Config, deps);
}

describe('what AWS KMS answers', () => {
  test.each([
    ['AccessDeniedException', 400, /kms:Decrypt/],
    ['DisabledException', 400, /enable it/],
    ['KMSInvalidStateException', 400, /pending deletion/],
    ['ThrottlingException', 400, /slow down/],
    ['KMSInternalException', 500, /does not answer as it should/],
    ['ServiceUnavailableException', 503, /does not answer as it should/],
  ])('%s is an outage that says what to do, never an unreadable secret', async (type, status, advice) => {
    const unwrapping = (await answering(kmsError(type, status))).unwrap(wrapped, context);
    await expect(unwrapping).rejects.toEqual(code('key_unavailable'));
    await expect(unwrapping).rejects.toThrow(advice);
  });

  test.each(['InvalidCiphertextException', 'IncorrectKeyException', 'NotFoundException', 'ValidationException'])(
    '%s means that the value does not open',
    async (type) => {
      await expect((await answering(kmsError(type))).unwrap(wrapped, context)).rejects.toEqual(
        code('secret_unreadable'),
      );
    },
  );

  test('a missing key is a matter of configuration, or of nothing worse than an outage while wrapping', async () => {
    const provider = await answering(kmsError('NotFoundException'));
    await expect(provider.health()).rejects.toEqual(code('config_invalid'));
    await expect(provider.wrap(Buffer.alloc(32), context)).rejects.toEqual(code('key_unavailable'));
  });

  test('a disabled key is not healthy', async () => {
    const body = { KeyMetadata: { KeyId: '0', Arn: ARN, Enabled: false, KeyState: 'Disabled' } };
    await expect((await answering({ status: 200, body })).health()).rejects.toThrow(/is Disabled: enable it/);
  });

  test('no key id is refused', () => {
    expect(() => plugin.create({} as Config, deps)).toThrow('KEYTURN_AWS_KMS_KEY_ID is not set.');
  });
});
