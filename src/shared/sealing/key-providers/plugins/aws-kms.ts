import {
  DecryptCommand,
  DescribeKeyCommand,
  EncryptCommand,
  type KeyMetadata,
  KMSClient,
  KMSServiceException,
} from '@aws-sdk/client-kms';
import { AppError } from '../../../platform/errors.ts';
import type { KeyProvider, KeyProviderPlugin, WrapContext } from '../contract.ts';

const TIMEOUT_MS = 5_000;
const ATTEMPTS = 2;

/** The key is gone or another one, or the value or its encryption context was altered. Everything else is an outage. */
const UNREADABLE = new Set([
  'InvalidCiphertextException',
  'IncorrectKeyException',
  'NotFoundException',
  'ValidationException',
]);

/** Advice for the operator, by the name of the error. */
const ADVICE: Record<string, string> = {
  AccessDeniedException: 'AWS KMS denies permission: allow kms:Encrypt, kms:Decrypt and kms:DescribeKey on the key.',
  CredentialsProviderError: 'There are no AWS credentials: set them in the environment or attach a role.',
  DisabledException: 'The AWS KMS key is disabled: enable it.',
  KMSInvalidStateException: 'The AWS KMS key is not usable (pending deletion or import): cancel the deletion.',
  ThrottlingException: 'AWS KMS asks to slow down.',
};

/**
 * A root key in AWS KMS (`KEYTURN_AWS_KMS_KEY_ID`: id, ARN or alias); it never leaves there. Region and credentials are
 * found by the SDK. Data keys are bound to tenant, purpose and version by the encryption context, which CloudTrail shows.
 */
export const plugin: KeyProviderPlugin = {
  name: 'aws-kms',
  create(config) {
    const { awsKmsKeyId: keyId, awsKmsEndpoint: endpoint } = config;
    if (!keyId) throw new AppError('config_invalid', { detail: 'KEYTURN_AWS_KMS_KEY_ID is not set.' });
    const client = new KMSClient({
      ...(endpoint && { endpoint }),
      maxAttempts: ATTEMPTS,
      requestHandler: { connectionTimeout: TIMEOUT_MS, requestTimeout: TIMEOUT_MS, throwOnRequestTimeout: true },
    });
    return makeKms(client, keyId);
  },
};

function makeKms(client: KMSClient, keyId: string): KeyProvider {
  return {
    name: 'aws-kms',
    currentKeyId: async () => (await describe(client, keyId)).Arn!,
    health: async () => void (await describe(client, keyId)),

    async wrap(plain, context) {
      const command = new EncryptCommand({ KeyId: keyId, Plaintext: plain, EncryptionContext: contextOf(context) });
      // While wrapping, a key that is not there is a matter of configuration; nothing is unreadable.
      const reply = await client.send(command).catch((error) => Promise.reject(outage(error)));
      return { keyId: reply.KeyId!, ciphertext: Buffer.from(reply.CiphertextBlob!).toString('base64') };
    },

    async unwrap(wrapped, context) {
      const command = new DecryptCommand({
        // KMS would find the key by itself; naming it refuses a value that was wrapped by a key of somebody else.
        KeyId: wrapped.keyId,
        CiphertextBlob: Buffer.from(wrapped.ciphertext, 'base64'),
        EncryptionContext: contextOf(context),
      });
      const { Plaintext } = await client.send(command).catch((error) => Promise.reject(unwrapError(error)));
      return Buffer.from(Plaintext!);
    },
  };
}

/** Throws `config_invalid` when there is no such key, `key_unavailable` when it may not be used. */
async function describe(client: KMSClient, keyId: string): Promise<KeyMetadata> {
  const { KeyMetadata } = await client.send(new DescribeKeyCommand({ KeyId: keyId })).catch((error) => {
    if (nameOf(error) !== 'NotFoundException') throw outage(error);
    throw new AppError('config_invalid', { cause: error, detail: `AWS KMS has no key ${keyId} in this region.` });
  });
  if (KeyMetadata?.Enabled) return KeyMetadata;
  throw new AppError('key_unavailable', { detail: `The AWS KMS key ${keyId} is ${KeyMetadata?.KeyState}: enable it.` });
}

function contextOf({ tenantId, purpose, version }: WrapContext): Record<string, string> {
  return { 'keyturn:tenant': tenantId, 'keyturn:purpose': purpose, 'keyturn:version': String(version) };
}

function unwrapError(cause: unknown): AppError {
  const name = nameOf(cause);
  if (!UNREADABLE.has(name)) return outage(cause);
  return new AppError('secret_unreadable', { cause, internal: `AWS KMS: ${name}` });
}

function outage(cause: unknown): AppError {
  const name = nameOf(cause);
  const status = cause instanceof KMSServiceException ? cause.$metadata.httpStatusCode : undefined;
  return new AppError('key_unavailable', {
    cause,
    detail: ADVICE[name] ?? 'AWS KMS does not answer as it should; check region, endpoint and credentials.',
    internal: `AWS KMS: ${name}${status === undefined ? '' : ` (${status})`}`,
  });
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : 'unknown';
}
