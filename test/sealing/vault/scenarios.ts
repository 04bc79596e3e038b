import { admin, type RawReply, rawCall } from './raw-call.ts';
import { type RealVault, startDevVault, startVaultPair } from './real-server.ts';

/** What to ask a real Vault for one recorded reply. */
export type Scenario = {
  name: string;
  request: string;
  ask(server: RealVault, known: Known): Promise<RawReply>;
};

/** What `prepare` made and the scenarios use. */
export type Known = { ciphertext: string; limitedToken: string; roleId: string; secretId: string };

const CONTEXT = { context: 'Y29udGV4dA==', associated_data: 'Y29udGV4dA==' };

/** One row per reply, in this order, on a dev server after `prepare`. `{…}` is filled in from what is known. */
const ROWS: [name: string, method: string, path: string, body?: object, token?: keyof Known | 'none'][] = [
  ['transit-key', 'GET', 'transit/keys/keyturn'],
  ['transit-key-missing', 'GET', 'transit/keys/nosuch'],
  ['transit-encrypt', 'POST', 'transit/encrypt/keyturn', { plaintext: 'AAAA', ...CONTEXT }],
  ['transit-encrypt-no-context', 'POST', 'transit/encrypt/keyturn', { plaintext: 'AAAA' }],
  ['transit-decrypt', 'POST', 'transit/decrypt/keyturn', { ciphertext: '{ciphertext}', ...CONTEXT }],
  [
    'transit-decrypt-altered',
    'POST',
    'transit/decrypt/keyturn',
    { ciphertext: '{ciphertext}', context: 'bm8=', associated_data: 'bm8=' },
  ],
  ['transit-decrypt-malformed', 'POST', 'transit/decrypt/keyturn', { ciphertext: 'vault:v1:', ...CONTEXT }],
  ['transit-decrypt-key-missing', 'POST', 'transit/decrypt/nosuch', { ciphertext: '{ciphertext}', ...CONTEXT }],
  ['transit-decrypt-too-old', 'POST', 'transit/decrypt/raised', { ciphertext: '{ciphertext}', ...CONTEXT }],
  [
    'transit-decrypt-too-new',
    'POST',
    'transit/decrypt/keyturn',
    { ciphertext: 'vault:v99:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', ...CONTEXT },
  ],
  ['no-such-mount', 'POST', 'nosuch/encrypt/keyturn', { plaintext: 'AAAA' }],
  ['permission-denied', 'GET', 'transit/keys/keyturn', undefined, 'limitedToken'],
  ['token-invalid', 'GET', 'transit/keys/keyturn', undefined, 'ciphertext'],
  ['token-absent', 'GET', 'transit/keys/keyturn', undefined, 'none'],
  ['token-lookup', 'GET', 'auth/token/lookup-self', undefined, 'limitedToken'],
  ['token-lookup-root', 'GET', 'auth/token/lookup-self'],
  ['token-renew', 'POST', 'auth/token/renew-self', {}, 'limitedToken'],
  ['token-renew-root', 'POST', 'auth/token/renew-self', {}],
  ['approle-login', 'POST', 'auth/approle/login', { role_id: '{roleId}', secret_id: '{secretId}' }, 'none'],
  ['approle-refused', 'POST', 'auth/approle/login', { role_id: '{roleId}', secret_id: 'wrong' }, 'none'],
  ['kv-write', 'POST', 'secret/data/keyturn/a', { options: { cas: 0 }, data: { jwe: 'a' } }],
  ['kv-cas-mismatch', 'POST', 'secret/data/keyturn/a', { options: { cas: 0 }, data: { jwe: 'b' } }],
  ['kv-read', 'GET', 'secret/data/keyturn/a'],
  ['kv-list', 'GET', 'secret/metadata/keyturn/?list=true'],
  ['kv-missing', 'GET', 'secret/data/keyturn/b'],
  ['kv-delete-soft', 'DELETE', 'secret/data/keyturn/a'],
  ['kv-read-deleted', 'GET', 'secret/data/keyturn/a'],
  ['kv-delete', 'DELETE', 'secret/metadata/keyturn/a'],
  ['kv-delete-missing', 'DELETE', 'secret/metadata/keyturn/b'],
  ['kv-config', 'GET', 'secret/config'],
];

export const DEV_SCENARIOS: Scenario[] = ROWS.map(([name, method, path, body, token]) => ({
  name,
  request: `${method} ${path}`,
  ask: (server, known) => {
    const filled = body && JSON.parse(JSON.stringify(body).replace(/\{(\w+)\}/g, (_, key: keyof Known) => known[key]));
    const used = token === undefined ? server.token : token === 'none' ? undefined : known[token];
    return rawCall(server.address, method, path, {
      ...(used !== undefined && { token: used }),
      ...(filled && { body: filled }),
    });
  },
}));

/** Makes keys, a token of the default policy and an AppRole on a fresh dev server. */
export async function prepare(server: RealVault): Promise<Known> {
  await admin(server, 'POST', 'sys/mounts/transit', { type: 'transit' });
  for (const key of ['keyturn', 'raised']) await admin(server, 'POST', `transit/keys/${key}`, { derived: true });
  await admin(server, 'POST', 'transit/keys/raised/rotate', {});
  await admin(server, 'POST', 'transit/keys/raised/config', { min_decryption_version: 2 });
  const { ciphertext } = await admin(server, 'POST', 'transit/encrypt/keyturn', { plaintext: 'AAAA', ...CONTEXT });
  const { client_token: limitedToken } = await admin(server, 'POST', 'auth/token/create', {
    policies: ['default'],
    ttl: '1h',
  });
  await admin(server, 'POST', 'sys/auth/approle', { type: 'approle' });
  await admin(server, 'POST', 'auth/approle/role/keyturn', { token_policies: ['default'], token_ttl: '20m' });
  const { role_id: roleId } = await admin(server, 'GET', 'auth/approle/role/keyturn/role-id');
  const { secret_id: secretId } = await admin(server, 'POST', 'auth/approle/role/keyturn/secret-id', {});
  return { ciphertext, limitedToken, roleId, secretId } as Known;
}

/** Replies that need a server in some state of its own: each starts what it needs. */
export const STATE_SCENARIOS: { name: string; request: string; ask(binary: string): Promise<RawReply> }[] = [
  {
    name: 'rate-limited',
    request: 'GET auth/token/lookup-self',
    ask: (binary) =>
      withDev(binary, async (server) => {
        await admin(server, 'POST', 'sys/quotas/rate-limit/keyturn', { rate: 1, interval: '10s', path: 'auth/token/' });
        const ask = () => rawCall(server.address, 'GET', 'auth/token/lookup-self', { token: server.token });
        await ask();
        return ask();
      }),
  },
  {
    name: 'sealed',
    request: 'GET secret/data/keyturn/a',
    ask: (binary) =>
      withDev(binary, async (server) => {
        await admin(server, 'PUT', 'sys/seal');
        return rawCall(server.address, 'GET', 'secret/data/keyturn/a', { token: server.token });
      }),
  },
  { name: 'standby-health', request: 'GET sys/health', ask: (binary) => askStandby(binary, 'sys/health', {}) },
  {
    name: 'standby-redirect',
    request: 'GET auth/token/lookup-self, request forwarding off',
    ask: (binary) => askStandby(binary, 'auth/token/lookup-self', { 'X-Vault-No-Request-Forwarding': 'true' }),
  },
];

async function withDev(binary: string, ask: (server: RealVault) => Promise<RawReply>): Promise<RawReply> {
  const server = await startDevVault(binary);
  return ask(server).finally(() => server.stop());
}

async function askStandby(binary: string, path: string, headers: Record<string, string>): Promise<RawReply> {
  const { standby } = await startVaultPair(binary);
  return rawCall(standby.address, 'GET', path, { token: standby.token, headers }).finally(() => standby.stop());
}
