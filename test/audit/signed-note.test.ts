import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  checkpointText,
  openNote,
  parseCheckpoint,
  rawKey,
  signNote,
  verifierKey,
} from '../../src/shared/audit/signed-note.ts';

/** From the documentation of golang.org/x/mod/sumdb/note, which C2SP signed-note describes. */
const KNOWN = {
  key: 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW',
  text: "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n",
  signature:
    '\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n',
};

const origin = 'keyturn/ten_a';
const { publicKey, privateKey } = generateKeyPairSync('ed25519');
const raw = rawKey(publicKey.export({ format: 'jwk' }));
const ours = verifierKey(origin, raw);
const checkpoint = { origin, seq: 7, hash: 'ab'.repeat(32), at: '2026-11-24T00:00:00.000Z' };
const note = signNote(checkpointText(checkpoint), origin, { key: privateKey, raw });

describe('a signed note', () => {
  test('of another implementation opens', () => {
    expect(openNote(`${KNOWN.text}\n${KNOWN.signature}`, [KNOWN.key])).toBe(KNOWN.text);
  });

  test('of another implementation does not open when a letter differs', () => {
    expect(openNote(`${KNOWN.text.replace('answer', 'Answer')}\n${KNOWN.signature}`, [KNOWN.key])).toBeNull();
  });

  test('of ours opens, beside signatures that nobody here knows', () => {
    expect(parseCheckpoint(openNote(note + KNOWN.signature, [ours])!)).toEqual(checkpoint);
  });

  test.each([
    ['with another size', note.replace('\n7\n', '\n8\n'), [ours]],
    ['with another root', note.replace('q6ur', 'q6us'), [ours]],
    ['under a key that is not trusted', note, [KNOWN.key]],
    ['under a key whose name was changed', note, [ours.replace('ten_a', 'ten_b')]],
    ['without signatures', note.slice(0, note.indexOf('\u2014')), [ours]],
  ])('%s does not open', (_, text, keys) => {
    expect(openNote(text, keys)).toBeNull();
  });

  test('of another text is no checkpoint', () => {
    expect(parseCheckpoint(KNOWN.text)).toBeNull();
    expect(parseCheckpoint(checkpointText(checkpoint).replace('chain sha256-jcs', 'merkle'))).toBeNull();
  });
});
