import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { findVault } from './binary.ts';
import './context.ts';
import type { RawReply } from './raw-call.ts';
import { type RealVault, startDevVault } from './real-server.ts';
import { recorded, recordedPath } from './recorded.ts';
import { DEV_SCENARIOS, type Known, prepare, STATE_SCENARIOS } from './scenarios.ts';

/**
 * Holds the recorded replies, which the stand-in of `npm test` answers with, against a real Vault of our own. With
 * `RECORD=1` they are written anew.
 */
const RECORD = process.env.RECORD === '1';

// With a server of somebody else (VAULT_ADDR) there may be no program to start, and it is not ours to seal.

describe.skipIf(inject('vaultServer')?.ours !== true)('the recorded replies are those of a real Vault', () => {
  let binary: string;
  let server: RealVault;
  let known: Known;
  let vault: string;

  beforeAll(async () => {
    binary = await findVault(process.env, () => {});
    server = await startDevVault(binary);
    vault = await versionOf(server);
    known = await prepare(server);
  });
  afterAll(() => server?.stop());

  const check = async (name: string, request: string, reply: RawReply) => {
    const found = { vault, request, ...withoutSecrets(reply) };
    if (RECORD || !existsSync(recordedPath(name))) {
      await mkdir(dirname(recordedPath(name)), { recursive: true });
      await writeFile(recordedPath(name), `${JSON.stringify(found, null, 2)}\n`);
    }
    expect(shapeOf(found)).toEqual(shapeOf(recorded(name)));
  };

  test.each(DEV_SCENARIOS)('$name: $request', async ({ name, request, ask }) =>
    check(name, request, await ask(server, known)),
  );
  test.each(STATE_SCENARIOS)(
    '$name: $request',
    async ({ name, request, ask }) => check(name, request, await ask(binary)),
    90_000,
  );
});

async function versionOf({ address }: RealVault): Promise<string> {
  const health = (await (await fetch(`${address}/v1/sys/health`)).json()) as { version: string };
  return health.version;
}

/** Tokens of a server that is gone are worth nothing, but look like secrets to a scanner. */
function withoutSecrets(reply: RawReply): RawReply {
  return { ...reply, body: reply.body.replace(/hvs\.[\w-]+/g, 'hvs.recorded') };
}

/** What must not change: the status, the names of the fields, the words of the errors. */
function shapeOf({ status, headers, body }: RawReply) {
  const parsed = body.startsWith('{') ? JSON.parse(body) : body;
  const data = parsed.data ?? parsed.auth ?? null;
  return {
    status,
    headers: Object.keys(headers).sort(),
    fields: data && Object.keys(data).sort(),
    errors: parsed.errors?.map((error: string) => error.replace(/[0-9a-f-]{36}|\d+/g, '#')),
  };
}
