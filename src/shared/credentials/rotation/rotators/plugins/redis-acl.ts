/**
 * Passwords of a Redis or Valkey user. Redis keeps several passwords for one user, so the old and the new one are good
 * side by side. Passwords are handed over as SHA-256, the form in which Redis keeps them: none is in a command.
 */
import { createHash } from 'node:crypto';
import { Redis, type RedisOptions } from 'ioredis';
import { AppError } from '../../../../platform/errors.ts';
import { Secret } from '../../../../platform/secret.ts';
import { abortError } from '../../../../providers/bounded.ts';
import type { HeldSecret, RotationCall, Rotator } from '../contract.ts';

const PASSWORD_BYTES = 32;

export const plugin: Rotator = {
  name: 'redis-acl',
  about: 'password of a Redis or Valkey user, by ACL SETUSER',
  needs: {
    username: 'the user whose password it is',
    admin_credential_id: 'a credential of the same service whose user may run ACL; it may be the credential itself',
  },
  adminNeeds: {
    redis_url: 'rediss://host:port, without user and password (redis:// on loopback only)',
    username: 'the user that may run ACL; by default "default"',
    acl_persistence: '"none" where the server has no aclfile and forgets passwords on a restart',
  },
  mintedBy: 'home',
  appliesTo: ({ kind, metadata }) =>
    kind === 'password' && metadata.username !== undefined && metadata.admin_credential_id !== undefined,

  async mint(call) {
    requireUser(call);
    const accessToken = new Secret(call.random.bytes(PASSWORD_BYTES).toString('base64url'));
    return { material: { accessToken }, metadata: {}, expiresAt: null };
  },

  apply: (call, next) =>
    asAdmin(call, async (run) => {
      await assertHasPassword(run, requireUser(call));
      await run('ACL', 'SETUSER', requireUser(call), `#${hashOf(next)}`);
    }),

  async verify(call, next) {
    const { url } = adminOf(call);
    const link = { url, user: requireUser(call), password: next.material.accessToken };
    return connected(call, link, async () => true).catch((error) => {
      if (error instanceof AppError && error.code === 'provider_misconfigured') return false;
      throw error;
    });
  },

  retire: (call, old) =>
    asAdmin(call, async (run) => {
      const user = await findUser(run, requireUser(call));
      const isHeld = user?.passwords.includes(hashOf(old)) ?? false;
      if (isHeld) await run('ACL', 'SETUSER', requireUser(call), `!${hashOf(old)}`);
    }),
};

type Run = (command: string, ...args: string[]) => Promise<unknown>;
type Link = { url: URL; user: string; password: Secret };

function requireUser({ credential }: RotationCall): string {
  const { username } = credential.metadata;
  if (username) return username;
  throw new AppError('provider_misconfigured', { detail: 'The metadata of the credential must name its "username".' });
}

function hashOf({ material }: HeldSecret): string {
  return createHash('sha256').update(material.accessToken.reveal()).digest('hex');
}

function adminOf({ admin }: RotationCall): Link & { persists: boolean } {
  if (!admin) {
    throw new AppError('provider_misconfigured', {
      detail: 'The metadata of the credential must name an "admin_credential_id", the right to change passwords.',
    });
  }
  const { redis_url = '', username = 'default', acl_persistence } = admin.metadata;
  const url = URL.parse(redis_url);
  if (!url || url.username || url.password || !isSafe(url)) {
    throw new AppError('provider_misconfigured', {
      detail: 'The admin credential needs the metadata "redis_url": rediss://host:port (redis:// on loopback only).',
    });
  }
  return { url, user: username, password: admin.material.accessToken, persists: acl_persistence !== 'none' };
}

function isSafe(url: URL): boolean {
  const loopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;
  return url.protocol === 'rediss:' || (url.protocol === 'redis:' && loopback.test(url.hostname));
}

/** Work of the administrator. Redis keeps users in memory: without an ACL file a restart would bring the old password back. */
async function asAdmin(call: RotationCall, work: (run: Run) => Promise<void>): Promise<void> {
  const admin = adminOf(call);
  await connected(call, admin, async (run) => {
    // Before the work too: a server that cannot keep passwords is left as it was.
    if (admin.persists) await run('ACL', 'SAVE');
    await work(run);
    if (admin.persists) await run('ACL', 'SAVE');
  });
}

/** Throws for a user that does not exist, which SETUSER would make, or whose every password is good. */
async function assertHasPassword(run: Run, name: string): Promise<void> {
  const user = await findUser(run, name);
  if (user && !user.flags.includes('nopass')) return;
  const problem = user ? 'lets everyone in (nopass)' : 'does not exist';
  throw new AppError('provider_misconfigured', { detail: `The Redis user ${problem}.` });
}

async function findUser(run: Run, name: string): Promise<{ flags: string[]; passwords: string[] } | null> {
  const reply = await run('ACL', 'GETUSER', name);
  if (!Array.isArray(reply)) return null;
  const field = (key: string) => (reply[reply.indexOf(key) + 1] ?? []) as string[];
  return { flags: field('flags'), passwords: field('passwords') };
}

/** One connection for one piece of work. A refused user or password throws `provider_misconfigured`. */
async function connected<T>(call: RotationCall, link: Link, work: (run: Run) => Promise<T>): Promise<T> {
  const redis = new Redis(optionsFor(call, link.url));
  const stop = () => redis.disconnect();
  call.signal.addEventListener('abort', stop, { once: true });
  redis.on('error', () => {});
  // An error of the driver carries the command's arguments: it is not kept as a cause.
  const run: Run = (command, ...args) =>
    redis.call(command, ...args).catch((error: unknown) => {
      throw call.signal.aborted ? abortError(call.signal) : failureOf(error, args[0] ?? '');
    });
  try {
    if (call.signal.aborted) throw abortError(call.signal);
    await redis.connect().catch((error: unknown) => {
      throw failureOf(error, 'connect');
    });
    await run('AUTH', link.user, link.password.reveal());
    return await work(run);
  } finally {
    call.signal.removeEventListener('abort', stop);
    redis.disconnect();
  }
}

function optionsFor({ timeoutMs }: RotationCall, url: URL): RedisOptions {
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port || 6379),
    ...(url.protocol === 'rediss:' && { tls: {} }),
    lazyConnect: true,
    enableReadyCheck: false,
    enableOfflineQueue: false,
    disableClientInfo: true,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
  };
}

/** First word of an error reply (it is a code of Redis's own) → what it means. */
const REPLIES: Record<string, { code: 'provider_misconfigured' | 'provider_rejected'; detail: string }> = {
  WRONGPASS: { code: 'provider_misconfigured', detail: 'Redis does not accept the user or the password.' },
  NOAUTH: { code: 'provider_misconfigured', detail: 'Redis does not accept the user or the password.' },
  NOPERM: { code: 'provider_misconfigured', detail: 'The admin user may not run ACL commands.' },
};

function failureOf(error: unknown, operation: string): AppError {
  const isReply = error instanceof Error && error.name === 'ReplyError';
  const word = isReply ? error.message.split(' ')[0]! : '';
  if (Object.hasOwn(REPLIES, word)) {
    const { code, detail } = REPLIES[word]!;
    return new AppError(code, { detail });
  }
  if (isReply && operation === 'SAVE') {
    return new AppError('provider_misconfigured', {
      detail: 'Redis has no aclfile, so it forgets passwords on a restart; set one, or acl_persistence=none.',
    });
  }
  const passing = !isReply || ['LOADING', 'BUSY', 'MASTERDOWN', 'TRYAGAIN', 'READONLY'].includes(word);
  return new AppError(passing ? 'provider_unavailable' : 'provider_rejected', { internal: `redis: ${operation}` });
}
