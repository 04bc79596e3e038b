import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { RawReply } from './raw-call.ts';

/** A reply of a real Vault, kept in `test/fixtures/vault/<name>.json`; `npm run test:vault` compares and records them. */
export type Recorded = RawReply & { vault: string; request: string };

/** The recorded reply of that name. */
export function recorded(name: string): Recorded {
  return JSON.parse(readFileSync(recordedPath(name), 'utf8'));
}

export function recordedPath(name: string): string {
  return fileURLToPath(new URL(`../../fixtures/vault/${name}.json`, import.meta.url));
}

/** The recorded reply with other values in its `data` (or `auth`, in a login). */
export function recordedWith(name: string, data: object): RawReply {
  const { status, headers, body } = recorded(name);
  const parsed = JSON.parse(body);
  const part = parsed.auth ? 'auth' : 'data';
  return { status, headers, body: JSON.stringify({ ...parsed, [part]: { ...parsed[part], ...data } }) };
}
