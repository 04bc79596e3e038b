import { readFile } from 'node:fs/promises';
import type { Clock } from '../../platform/clock.ts';
import type { Config } from '../../platform/config/parse.ts';
import { AppError, type ErrorCode } from '../../platform/errors.ts';
import { Secret } from '../../platform/secret.ts';
import { makeVaultSend, type VaultReply, type VaultSend } from './http.ts';
import { LoginRefused, makeVaultLogin, type VaultCredentials, type VaultLogin } from './login.ts';

/** A Vault or OpenBao server (HTTP API v1), logged in. */
export type VaultServer = {
  /**
   * Sends one request; a reply of any status is returned, except those that mean "not now": no answer, sealed, standby,
   * rate limit, permission denied. These throw `unavailable` with what to do.
   */
  call(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<VaultReply>;
};

/**
 * The server that `KEYTURN_VAULT_ADDR` names, with its token or AppRole. No I/O. Throws `config_invalid`.
 *
 * @param unavailable the code of an outage: `key_unavailable` for keys, `store_unavailable` for secrets.
 */
export function makeVaultServer(
  config: Config,
  clock: Pick<Clock, 'now'>,
  unavailable: 'key_unavailable' | 'store_unavailable',
): VaultServer {
  if (!config.vaultAddress) throw invalid('KEYTURN_VAULT_ADDR is not set.');
  const send = makeVaultSend(config.vaultAddress, config.vaultNamespace);
  const login = makeVaultLogin(credentialsOf(config, unavailable), send, clock);
  return { call: (method, path, body) => call({ send, login, unavailable }, method, path, body) };
}

type Context = { send: VaultSend; login: VaultLogin; unavailable: ErrorCode };

async function call(context: Context, method: string, path: string, body?: object): Promise<VaultReply> {
  try {
    const token = await context.login.token();
    const reply = await context.send(method, path, token, body);
    if (reply.status !== 403 || !context.login.forget(token)) return settle(reply, context, path);
    // The token may have been revoked or have ended early: a new login tells that from a policy that forbids.
    return settle(await context.send(method, path, await context.login.token(), body), context, path);
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    if (cause instanceof LoginRefused) return settle(cause.reply, context, 'login');
    throw new AppError(context.unavailable, {
      cause,
      detail: 'Vault does not answer; check KEYTURN_VAULT_ADDR and the server.',
    });
  }
}

/** The replies that mean "not now", and advice for the operator. */
const NOT_NOW: Record<number, string> = {
  307: 'Vault: this node is a standby that does not forward; point KEYTURN_VAULT_ADDR at the active node.',
  403: 'Vault denies permission: check the token or AppRole of Keyturn and its policy.',
  429: 'Vault asks to slow down: a rate limit quota is exhausted.',
  472: 'Vault: this node is a disaster recovery secondary; point KEYTURN_VAULT_ADDR at the primary.',
  473: 'Vault: this node is a performance standby; point KEYTURN_VAULT_ADDR at the active node.',
  503: 'Vault is sealed or in maintenance: unseal it.',
};

function settle(reply: VaultReply, context: Context, path: string): VaultReply {
  const refusedLogin = path === 'login';
  if (reply.status < 500 && !(reply.status in NOT_NOW) && !refusedLogin) return reply;
  const otherwise = refusedLogin ? NOT_NOW[403] : 'Vault reports an error of its own.';
  throw new AppError(context.unavailable, {
    detail: NOT_NOW[reply.status] ?? otherwise,
    internal: `Vault ${reply.status} on ${path}: ${reply.errors.join('; ')}`,
    ...(reply.retryAfterMs !== undefined && { retryAfterMs: reply.retryAfterMs }),
  });
}

function credentialsOf(config: Config, unavailable: ErrorCode): VaultCredentials {
  const { vaultToken: token, vaultRoleId: roleId, vaultSecretId: secretId } = config;
  const { vaultTokenPath: path } = config;
  const given = Object.entries({ TOKEN: token, TOKEN_PATH: path, ROLE_ID: roleId }).filter(([, value]) => value);
  if (given.length > 1) {
    throw invalid(`${given.map(([name]) => `KEYTURN_VAULT_${name}`).join(' and ')} are both set; set one.`);
  }
  if (path) return { readToken: () => readToken(path, unavailable) };
  if (token) return { token };
  if (roleId && secretId) return { roleId, secretId };
  throw invalid(
    'Set KEYTURN_VAULT_TOKEN (or its _FILE), KEYTURN_VAULT_TOKEN_PATH, or KEYTURN_VAULT_ROLE_ID and KEYTURN_VAULT_SECRET_ID.',
  );
}

async function readToken(path: string, unavailable: ErrorCode): Promise<Secret> {
  try {
    return new Secret((await readFile(path, 'utf8')).trim());
  } catch (cause) {
    throw new AppError(unavailable, { cause, detail: 'KEYTURN_VAULT_TOKEN_PATH names a file that cannot be read.' });
  }
}

function invalid(detail: string): AppError {
  return new AppError('config_invalid', { detail });
}
