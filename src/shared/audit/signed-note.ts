/**
 * Checkpoints as C2SP signed notes (https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint): origin, size and root
 * on a line each, then signatures. The log is a hash chain, not a Merkle tree: the root is the hash of the entry with
 * `seq` = size, and the extension lines say so.
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

/** A signed head of a tenant's log. `hash` is hex. */
export type Checkpoint = { origin: string; seq: number; hash: string; at: string };

const SIGNATURE_TYPE = Buffer.from([1]);
const KIND = 'chain sha256-jcs';
const DASH = '\u2014';

/** The name of a tenant's log: first line of its checkpoints and name of the key that signs them. */
export function originOf(tenantId: string): string {
  return `keyturn/${tenantId}`;
}

/** The text that is signed. */
export function checkpointText({ origin, seq, hash, at }: Checkpoint): string {
  return `${origin}\n${seq}\n${Buffer.from(hash, 'hex').toString('base64')}\n${KIND}\ntime ${at}\n`;
}

/** The inverse of `checkpointText`; null for another text. */
export function parseCheckpoint(text: string): Checkpoint | null {
  const [origin, size, root, kind, time, end, ...rest] = text.split('\n');
  if (!origin || kind !== KIND || !time?.startsWith('time ') || end !== '' || rest.length > 0) return null;
  const seq = Number(size);
  const hash = Buffer.from(root ?? '', 'base64').toString('hex');
  if (!Number.isSafeInteger(seq) || seq < 1 || hash.length !== 64) return null;
  return { origin, seq, hash, at: time.slice('time '.length) };
}

/** The 32 bytes of an Ed25519 public key in its JWK. */
export function rawKey(jwk: { x?: string }): Buffer {
  return Buffer.from(jwk.x ?? '', 'base64url');
}

/** A verifier key in the form of signed-note: `<name>+<key id>+<key>`. Somebody who checks checkpoints pins it. */
export function verifierKey(name: string, raw: Buffer): string {
  const id = keyId(name, raw).toString('hex');
  return `${name}+${id}+${Buffer.concat([SIGNATURE_TYPE, raw]).toString('base64')}`;
}

/** Signs a text that ends in a newline, under the name of its key. */
export function signNote(text: string, name: string, signer: { key: KeyObject; raw: Buffer }): string {
  const signature = sign(null, Buffer.from(text), signer.key);
  const blob = Buffer.concat([keyId(name, signer.raw), signature]).toString('base64');
  return `${text}\n${DASH} ${name} ${blob}\n`;
}

/** The text of a note that one of the verifier keys has signed; null when none has. Unknown signatures are passed over. */
export function openNote(note: string, verifierKeys: string[]): string | null {
  const split = note.lastIndexOf('\n\n');
  if (split < 0) return null;
  const text = note.slice(0, split + 1);
  const lines = note
    .slice(split + 2)
    .split('\n')
    .filter(Boolean);
  const known = verifierKeys.map(parseVerifierKey).filter((key) => key !== null);
  const isSigned = lines.some((line) => known.some((key) => signedBy(line, text, key)));
  return isSigned ? text : null;
}

type VerifierKey = { name: string; id: Buffer; key: KeyObject };

function parseVerifierKey(text: string): VerifierKey | null {
  const [name, id, ...rest] = text.split('+');
  const raw = Buffer.from(rest.join('+'), 'base64').subarray(1);
  if (!name || !id || raw.length !== 32 || keyId(name, raw).toString('hex') !== id) return null;
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: raw.toString('base64url') };
  return { name, id: Buffer.from(id, 'hex'), key: createPublicKey({ key: jwk, format: 'jwk' }) };
}

function signedBy(line: string, text: string, { name, id, key }: VerifierKey): boolean {
  const [dash, signer, encoded] = line.split(' ');
  if (dash !== DASH || signer !== name) return false;
  const blob = Buffer.from(encoded ?? '', 'base64');
  return blob.subarray(0, 4).equals(id) && verify(null, Buffer.from(text), key, blob.subarray(4));
}

/** The first four bytes of SHA-256(name ‖ newline ‖ type ‖ key). */
function keyId(name: string, raw: Buffer): Buffer {
  return createHash('sha256').update(`${name}\n`).update(SIGNATURE_TYPE).update(raw).digest().subarray(0, 4);
}
