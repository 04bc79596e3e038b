import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { serveOnLoopback } from '../../../local/tools/loopback.ts';
import type { Config } from '../../../src/shared/platform/config/parse.ts';
import { AppError } from '../../../src/shared/platform/errors.ts';
import { systemRandom } from '../../../src/shared/platform/random.ts';
import { Secret } from '../../../src/shared/platform/secret.ts';
import { makeVaultServer } from '../../../src/shared/sealing/hashicorp/server.ts';
import { plugin as keys } from '../../../src/shared/sealing/key-providers/plugins/vault.ts';
import { plugin as secrets } from '../../../src/shared/sealing/secret-stores/plugins/vault.ts';
import { code, handClock } from '../support.ts';
import type { RawReply } from './raw-call.ts';
import { recorded, recordedWith } from './recorded.ts';
import { startReplying } from './stand-in.ts';

const context = { tenantId: 'ten_a', purpose: 'seal' as const, version: 1 };
const wrapped = { keyId: 'vault:transit/keyturn:v1', ciphertext: 'vault:v1:AAAA' };
const item = {
  context: { tenantId: 'ten_a', objectId: 'cred_a', generation: 1 },
  stored: { store: 'vault', keyVersion: 1, ref: '0'.repeat(32) },
};

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

/** A server that gives what `pick` says and keeps a list of what it was asked. */
async function replying(pick: (path: string, count: number) => RawReply) {
  const asked: string[] = [];
  const server = await startReplying((_, path) => pick(path, asked.push(path)));
  stops.push(server.stop);
  return { address: server.address, asked };
}

const configOf = (address: string, fields: Partial<Config> = {}) =>
  ({
    vaultAddress: address,
    vaultTransitMount: 'transit',
    vaultTransitKey: 'keyturn',
    vaultKvMount: 'secret',
    ...(fields.vaultRoleId === undefined && { vaultToken: new Secret('hvs.test') }),
    ...fields,
  }) as Config;
const appRole = { vaultRoleId: 'role', vaultSecretId: new Secret('s3cret-id') };

function clientsOf(address: string, fields: Partial<Config> = {}, clock = handClock()) {
  const deps = { clock, random: systemRandom };
  const config = configOf(address, fields);
  return { keys: keys.create(config, deps), secrets: secrets.create(config, deps) };
}

describe('replies recorded from a real Vault that mean "not now" never count as an unreadable secret', () => {
  test.each([
    ['sealed', /unseal/],
    ['permission-denied', /policy/],
    ['token-invalid', /token/],
    ['token-absent', /token/],
    ['rate-limited', /slow down/],
    ['standby-health', /./],
  ])('%s', async (name, advice) => {
    const { address } = await replying(() => recorded(name));
    const { keys, secrets } = clientsOf(address);
    const keyCalls = [() => keys.unwrap(wrapped, context), () => keys.wrap(Buffer.alloc(32), context), keys.health];
    for (const call of keyCalls) {
      const calling = call();
      await expect(calling).rejects.toEqual(code('key_unavailable'));
      await expect(calling).rejects.toThrow(advice);
    }
    for (const call of [() => secrets.get([item]), () => secrets.delete([item]), secrets.health]) {
      await expect(call()).rejects.toEqual(code('store_unavailable'));
    }
  });

  test('nor do an answer of a proxy, no answer, or no server', async () => {
    const { address } = await replying(() => ({
      status: 502,
      headers: { 'content-type': 'text/html' },
      body: '<html>bad',
    }));
    await expect(clientsOf(address).keys.unwrap(wrapped, context)).rejects.toEqual(code('key_unavailable'));
    const gone = await startReplying(() => recorded('sealed'));
    await gone.stop();
    await expect(clientsOf(gone.address).keys.health()).rejects.toThrow(/does not answer/);
  });

  test('a Retry-After is handed on', async () => {
    const { address } = await replying(() => ({ ...recorded('rate-limited'), headers: { 'retry-after': '7' } }));
    const error = await clientsOf(address)
      .keys.health()
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(AppError);
    expect((error as AppError).retryAfterMs).toBe(7_000);
  });
});

describe('replies that mean that a value does not open', () => {
  test.each([
    'transit-decrypt-altered',
    'transit-decrypt-malformed',
    'transit-decrypt-key-missing',
    'transit-decrypt-too-old',
    'transit-decrypt-too-new',
  ])('%s', async (name) => {
    const pick = (path: string) =>
      path.includes('/decrypt/')
        ? recorded(name)
        : path.includes('/keys/')
          ? recorded('transit-key')
          : recorded('token-lookup-root');
    const { address } = await replying(pick);
    await expect(clientsOf(address).keys.unwrap(wrapped, context)).rejects.toEqual(code('secret_unreadable'));
  });

  test('a value wrapped by another transit key is refused without asking', async () => {
    const { address, asked } = await replying(() => recorded('sealed'));
    const other = { ...wrapped, keyId: 'vault:transit/other:v1' };
    await expect(clientsOf(address).keys.unwrap(other, context)).rejects.toEqual(code('secret_unreadable'));
    expect(asked).toEqual([]);
  });
});

describe('configuration', () => {
  test('a transit key that does not exist is named, with the command that makes it', async () => {
    const { address } = await replying((path) =>
      recorded(path.includes('/keys/') ? 'transit-key-missing' : 'token-lookup-root'),
    );
    await expect(clientsOf(address).keys.health()).rejects.toThrow(/vault write -f transit\/keys\/keyturn/);
  });

  test('a transit key that cannot bind a data key to its tenant is refused', async () => {
    const { address } = await replying((path) =>
      path.includes('/keys/') ? recordedWith('transit-key', { type: 'rsa-4096' }) : recorded('token-lookup-root'),
    );
    await expect(clientsOf(address).keys.wrap(Buffer.alloc(32), context)).rejects.toEqual(code('config_invalid'));
  });

  test.each([
    ['no address', { vaultAddress: undefined }, /KEYTURN_VAULT_ADDR/],
    ['no credentials', { vaultToken: undefined }, /KEYTURN_VAULT_ROLE_ID/],
    ['two kinds of credentials', { ...appRole, vaultToken: new Secret('x') }, /set one/],
    ['a token and a file with one', { vaultTokenPath: '/token' }, /set one/],
    ['a role without its secret', { vaultRoleId: 'role' }, /KEYTURN_VAULT_SECRET_ID/],
  ])('%s is refused', (_, fields, message) => {
    expect(() => makeVaultServer(configOf('http://127.0.0.1:1', fields), handClock(), 'key_unavailable')).toThrow(
      message,
    );
  });
});

describe('logging in', () => {
  const MINUTE = 60_000;
  const login = () => recordedWith('approle-login', { client_token: 'hvs.a', lease_duration: 1_200, renewable: true });
  const other = (path: string) => (path.includes('/keys/') ? recorded('transit-key') : recorded('kv-config'));

  test('a token in a file is followed: at once when it was denied, and after half a minute at the latest', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'keyturn-token-'));
    const path = join(dir, 'token');
    stops.push(() => rm(dir, { recursive: true }));
    const used: (string | undefined)[] = [];
    let good = 'hvs.one';
    const server = await serveOnLoopback((request, response) => {
      used.push(request.headers['x-vault-token'] as string);
      const reply = used.at(-1) === good ? recorded('transit-key') : recorded('token-invalid');
      response.writeHead(reply.status, reply.headers).end(reply.body);
    });
    stops.push(server.stop);
    const clock = handClock();
    const fields = { vaultToken: undefined, vaultTokenPath: path };
    const { keys } = clientsOf(server.url, fields, clock);
    await expect(keys.health()).rejects.toThrow(/KEYTURN_VAULT_TOKEN_PATH/);
    await writeFile(path, 'hvs.one\n');
    await keys.health();
    await writeFile(path, 'hvs.two\n');
    await keys.health();
    clock.advance(MINUTE);
    good = 'hvs.two';
    await keys.health();
    good = 'hvs.three';
    await writeFile(path, 'hvs.three\n');
    await keys.health();
    expect(used).toEqual(['hvs.one', 'hvs.one', 'hvs.two', 'hvs.two', 'hvs.three']);
    good = 'another';
    await expect(keys.health()).rejects.toEqual(code('key_unavailable'));
  });

  test('an AppRole logs in once, however many ask at once', async () => {
    const { address, asked } = await replying((path) => (path.includes('approle') ? login() : other(path)));
    const { keys } = clientsOf(address, appRole);
    await Promise.all(Array.from({ length: 20 }, () => keys.health()));
    expect(asked.filter((path) => path === 'auth/approle/login')).toHaveLength(1);
  });

  test('its token is renewed after two thirds of its life, and a new one fetched when it has ended', async () => {
    const { address, asked } = await replying((path) => {
      if (path.includes('approle')) return login();
      return path.includes('renew')
        ? recordedWith('token-renew', { lease_duration: 1_200, renewable: true })
        : other(path);
    });
    const clock = handClock();
    const { keys } = clientsOf(address, appRole, clock);
    const loginsAfter = async (ms: number) => {
      clock.advance(ms);
      await keys.health();
      return asked.filter((path) => path.startsWith('auth/')).map((path) => path.split('/')[2]);
    };
    expect(await loginsAfter(0)).toEqual(['login']);
    expect(await loginsAfter(13 * MINUTE)).toEqual(['login']);
    expect(await loginsAfter(1 * MINUTE)).toEqual(['login', 'renew-self']);
    expect(await loginsAfter(21 * MINUTE)).toEqual(['login', 'renew-self', 'login']);
  });

  test('a token that was revoked is replaced by a new login at once', async () => {
    let denials = 1;
    const { address, asked } = await replying((path) => {
      if (path.includes('approle')) return login();
      return denials-- > 0 ? recorded('token-invalid') : other(path);
    });
    await clientsOf(address, appRole).keys.health();
    expect(asked.filter((path) => path.includes('approle'))).toHaveLength(2);
  });

  test('a refused AppRole is an outage that says what to check, and does not show the secret id', async () => {
    const { address } = await replying(() => recorded('approle-refused'));
    const error = await clientsOf(address, appRole)
      .keys.health()
      .catch((caught: unknown) => caught);
    expect(error).toEqual(code('key_unavailable'));
    expect(String(error)).toMatch(/AppRole/);
    expect(JSON.stringify(error)).not.toContain('s3cret-id');
  });

  test("an operator's token is looked up once and renewed in time; one that never ends is left alone", async () => {
    for (const [lookup, renewals] of [
      ['token-lookup', 1],
      ['token-lookup-root', 0],
    ] as const) {
      const { address, asked } = await replying((path) =>
        path.includes('lookup') ? recorded(lookup) : path.includes('renew') ? recorded('token-renew') : other(path),
      );
      const clock = handClock();
      const { keys } = clientsOf(address, {}, clock);
      await keys.health();
      clock.advance(45 * MINUTE);
      await keys.health();
      expect(asked.filter((path) => path.includes('lookup'))).toHaveLength(1);
      expect(asked.filter((path) => path.includes('renew'))).toHaveLength(renewals);
    }
  });
});

describe('a standby that redirects', () => {
  test('is followed to the active node, once', async () => {
    const active = await replying((path) => recorded(path.includes('/keys/') ? 'transit-key' : 'token-lookup-root'));
    const standby = await startReplying((_, path) => {
      return { ...recorded('standby-redirect'), headers: { location: `${active.address}/v1/${path}` } };
    });
    stops.push(standby.stop);
    await clientsOf(standby.address).keys.health();
    expect(active.asked).toContain('transit/keys/keyturn');
  });

  test('in a circle is an outage', async () => {
    const standby = await startReplying(() => ({
      ...recorded('standby-redirect'),
      headers: { location: `${standby.address}/v1/x` },
    }));
    stops.push(standby.stop);
    await expect(clientsOf(standby.address).keys.health()).rejects.toThrow(/standby/);
  });
});
