import type { Clock } from '../../platform/clock.ts';
import { Secret } from '../../platform/secret.ts';
import type { VaultReply, VaultSend } from './http.ts';

/** A token from the operator, one that somebody else keeps fresh in a file, or an AppRole to log in with. */
export type VaultCredentials =
  | { token: Secret }
  | { readToken(): Promise<Secret> }
  | { roleId: string; secretId: Secret };

export type VaultLogin = {
  /** The token to use now: logged in, or renewed after two thirds of its life. Throws `LoginRefused`, or what fetch throws. */
  token(): Promise<Secret>;
  /** Drops a token that was denied. False when no other can be had (a token from the operator). */
  forget(denied: Secret): boolean;
};

/** A token and its times, in milliseconds since the epoch; both infinite for a token that does not end. */
type Grant = { token: Secret; renewAt: number; endsAt: number; renewable: boolean };

const RENEW_AT = 2 / 3;
/** A token in a file is read again after this time, and at once when it was denied. Milliseconds. */
const READ_AGAIN_MS = 30_000;

/** Thrown by a login that was answered, but not with a token. */
export class LoginRefused extends Error {
  readonly reply: VaultReply;

  constructor(reply: VaultReply) {
    super('the login was refused');
    this.reply = reply;
  }
}

/** @param credentials AppRole logins are made anew when the token ends; a token from the operator is renewed only. */
export function makeVaultLogin(credentials: VaultCredentials, send: VaultSend, clock: Pick<Clock, 'now'>): VaultLogin {
  let grant: Grant | undefined;
  let running: Promise<Grant> | undefined;

  /** One login or renewal at a time, however many ask. */
  const next = (): Promise<Grant> => {
    running ??= obtain(credentials, send, clock.now, grant)
      .then((obtained) => {
        grant = obtained;
        return obtained;
      })
      .finally(() => {
        running = undefined;
      });
    return running;
  };

  return {
    async token() {
      if (grant && clock.now() < grant.renewAt) return grant.token;
      return (await next()).token;
    },
    forget(denied) {
      if ('token' in credentials) return false;
      if (grant?.token === denied) grant = undefined;
      return true;
    },
  };
}

async function obtain(
  credentials: VaultCredentials,
  send: VaultSend,
  now: () => number,
  grant: Grant | undefined,
): Promise<Grant> {
  if ('readToken' in credentials) {
    const token = await credentials.readToken();
    return { token, renewAt: now() + READ_AGAIN_MS, endsAt: Number.POSITIVE_INFINITY, renewable: false };
  }
  if (grant?.renewable && now() < grant.endsAt) {
    const renewed = await send('POST', 'auth/token/renew-self', grant.token, {});
    if (renewed.status === 200) return grantOf(grant.token, renewed, now());
  }
  if ('token' in credentials) return lookUp(credentials.token, send, now);
  const body = { role_id: credentials.roleId, secret_id: credentials.secretId.reveal() };
  const reply = await send('POST', 'auth/approle/login', null, body);
  if (reply.status !== 200 || typeof reply.data.client_token !== 'string') throw new LoginRefused(reply);
  return grantOf(new Secret(reply.data.client_token), reply, now());
}

/** How long the operator's token lives. One that may not look itself up is used as it is. */
async function lookUp(token: Secret, send: VaultSend, now: () => number): Promise<Grant> {
  const reply = await send('GET', 'auth/token/lookup-self', token);
  if (reply.status !== 200 && reply.status !== 403) throw new LoginRefused(reply);
  return grantOf(token, reply, now());
}

/** A login and a renewal say `lease_duration`, a look-up `ttl`; both in seconds, 0 for "never ends". */
function grantOf(token: Secret, { data }: VaultReply, now: number): Grant {
  const seconds = Number(data.lease_duration ?? data.ttl ?? 0);
  const lifeMs = seconds > 0 ? seconds * 1000 : Number.POSITIVE_INFINITY;
  return { token, renewAt: now + lifeMs * RENEW_AT, endsAt: now + lifeMs, renewable: data.renewable === true };
}
