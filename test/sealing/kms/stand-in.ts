import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto';
import { readBody, serveOnLoopback } from '../../../local/tools/loopback.ts';

type Body = Record<string, unknown>;
type Key = { id: string; arn: string; secret: Buffer; enabled: boolean };
type Reply = { status: number; body: Body };

/** An error as KMS writes it (AWS JSON 1.1). */
export const kmsError = (type: string, status = 400): Reply => ({ status, body: { __type: type, message: type } });

/** Starts a local stand-in for AWS KMS that keeps keys and aliases in memory. `pick` may answer in its place. */
export async function startKmsStandIn(pick: (operation: string) => Reply | undefined = () => undefined) {
  const keys = new Map<string, Key>();
  const aliases = new Map<string, string>();
  const { url, stop } = await serveOnLoopback(async (request, response) => {
    const text = await readBody(request);
    const operation = String(request.headers['x-amz-target']).split('.')[1]!;
    const reply = pick(operation) ?? OPERATIONS[operation]!({ keys, aliases }, JSON.parse(text));
    response.writeHead(reply.status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(reply.body));
  });
  return { endpoint: url, stop };
}

type State = { keys: Map<string, Key>; aliases: Map<string, string> };

const OPERATIONS: Record<string, (state: State, body: Body) => Reply> = {
  CreateKey({ keys }) {
    const id = randomUUID();
    const key = { id, arn: `arn:aws:kms:eu-central-1:000000000000:key/${id}`, secret: randomBytes(32), enabled: true };
    keys.set(id, key);
    return ok({ KeyMetadata: metadataOf(key) });
  },
  CreateAlias: setAlias,
  UpdateAlias: setAlias,
  DescribeKey(state, { KeyId }) {
    const key = find(state, KeyId);
    return key ? ok({ KeyMetadata: metadataOf(key) }) : kmsError('NotFoundException');
  },
  DisableKey(state, { KeyId }) {
    find(state, KeyId)!.enabled = false;
    return ok({});
  },
  Encrypt(state, { KeyId, Plaintext, EncryptionContext }) {
    const key = find(state, KeyId);
    if (!key) return kmsError('NotFoundException');
    const iv = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', key.secret, iv).setAAD(aadOf(EncryptionContext));
    const text = Buffer.concat([cipher.update(String(Plaintext), 'base64'), cipher.final()]);
    const blob = Buffer.concat([Buffer.from(key.id), iv, cipher.getAuthTag(), text]);
    return ok({ KeyId: key.arn, CiphertextBlob: blob.toString('base64') });
  },
  Decrypt(state, { KeyId, CiphertextBlob, EncryptionContext }) {
    const blob = Buffer.from(String(CiphertextBlob), 'base64');
    const [named, used] = [find(state, KeyId), state.keys.get(blob.subarray(0, 36).toString())];
    if (!named) return kmsError('NotFoundException');
    if (!used) return kmsError('InvalidCiphertextException');
    if (named !== used) return kmsError('IncorrectKeyException');
    if (!used.enabled) return kmsError('DisabledException');
    try {
      const decipher = createDecipheriv('aes-256-gcm', used.secret, blob.subarray(36, 48));
      decipher.setAAD(aadOf(EncryptionContext)).setAuthTag(blob.subarray(48, 64));
      const plain = Buffer.concat([decipher.update(blob.subarray(64)), decipher.final()]);
      return ok({ KeyId: used.arn, Plaintext: plain.toString('base64') });
    } catch {
      return kmsError('InvalidCiphertextException');
    }
  },
};

function setAlias({ aliases }: State, { AliasName, TargetKeyId }: Body): Reply {
  aliases.set(String(AliasName), String(TargetKeyId));
  return ok({});
}

function find({ keys, aliases }: State, keyId: unknown): Key | undefined {
  const id = aliases.get(String(keyId)) ?? String(keyId);
  return keys.get(id.slice(id.lastIndexOf('/') + 1));
}

function metadataOf({ id, arn, enabled }: Key): Body {
  return { KeyId: id, Arn: arn, Enabled: enabled, KeyState: enabled ? 'Enabled' : 'Disabled' };
}

function aadOf(context: unknown): Buffer {
  return Buffer.from(JSON.stringify(Object.entries((context ?? {}) as object).sort()));
}

function ok(body: Body): Reply {
  return { status: 200, body };
}
