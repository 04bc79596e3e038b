import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { startSandbox } from '../../local/sandbox/server.ts';
import { testRedisUrl } from '../servers/for-tests.ts';
import { startTcpProxy, type TcpProxy } from '../servers/tcp-proxy.ts';
import { isClientSecretGood, registerClient } from './oauth-client.ts';

/** What is imported for one credential: the fields of an import event beside service and subject. */
export type Imported = {
  kind: 'client_secret' | 'password';
  accessToken: string;
  registrationAccessToken?: string;
  metadata: Record<string, string>;
};

/** The real other side of one rotator, with one secret to rotate. */
export type RotatorSubject = {
  credential: Imported;
  /** The credential that `admin_credential_id` is to name, where the rotator needs one. */
  admin: Imported | null;
  /** Uses a released secret as an application does, past the proxy. */
  authenticates(secret: string, metadata: Record<string, string>): Promise<boolean>;
  /** How many secrets are good now; null where the other side does not tell. */
  goodSecrets(): Promise<number | null>;
  /** From now on, or no more, the other side refuses every secret of this user. Absent: it cannot. */
  refuseAll?(on: boolean): Promise<void>;
  /** Between Keyturn and the other side. */
  proxy: TcpProxy;
  stop(): Promise<void>;
};

/**
 * One per file in `src/shared/credentials/rotation/rotators/plugins/`: a rotator without its other side here fails the
 * conformance suite.
 */
export const ROTATOR_SUBJECTS: Record<string, () => Promise<RotatorSubject>> = {
  'oauth-client-secret': openOAuthSubject,
  'redis-acl': openRedisSubject,
};

/** oidc-provider with a registered client that asks for tokens in its own name. */
async function openOAuthSubject(): Promise<RotatorSubject> {
  const sandbox = await startSandbox({ clients: [] });
  const proxy = await startTcpProxy({ port: sandbox.port });
  const base = `http://127.0.0.1:${proxy.port}`;
  const client = await registerClient(base, {
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  });
  return {
    credential: {
      kind: 'client_secret',
      accessToken: client.client_secret!,
      registrationAccessToken: client.registration_access_token!,
      metadata: {
        client_id: client.client_id!,
        registration_client_uri: client.registration_client_uri!,
        registration_endpoint: `${base}/reg`,
        token_url: `${base}/token`,
      },
    },
    admin: null,
    authenticates: (clientSecret, { client_id }) =>
      isClientSecretGood(sandbox.issuer, { clientId: client_id!, clientSecret }),
    goodSecrets: async () => null,
    proxy,
    stop: async () => {
      await proxy.close();
      await sandbox.stop();
    },
  };
}

/** A Redis user with one password, and another that may change it. */
async function openRedisSubject(): Promise<RotatorSubject> {
  const url = new URL(testRedisUrl());
  const redis = new Redis(url.href);
  const proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port || 6379) });
  const [username, admin] = [`app-${randomBytes(4).toString('hex')}`, `admin-${randomBytes(4).toString('hex')}`];
  const [password, adminPassword] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')];
  await redis.call('ACL', 'SETUSER', username, 'on', `>${password}`, '+ping');
  await redis.call('ACL', 'SETUSER', admin, 'on', `>${adminPassword}`, '+acl');
  return {
    credential: { kind: 'password', accessToken: password, metadata: { username } },
    admin: {
      kind: 'password',
      accessToken: adminPassword,
      metadata: { redis_url: `redis://127.0.0.1:${proxy.port}`, username: admin, acl_persistence: 'none' },
    },
    authenticates: (secret) => canLogIn(url, username, secret),
    goodSecrets: async () => {
      const reply = (await redis.call('ACL', 'GETUSER', username)) as unknown[];
      return (reply[reply.indexOf('passwords') + 1] as string[]).length;
    },
    refuseAll: async (on) => void (await redis.call('ACL', 'SETUSER', username, on ? 'off' : 'on')),
    proxy,
    stop: async () => {
      await redis.call('ACL', 'DELUSER', username, admin);
      redis.disconnect();
      await proxy.close();
    },
  };
}

async function canLogIn(url: URL, user: string, password: string): Promise<boolean> {
  const link = new Redis({
    host: url.hostname,
    port: Number(url.port || 6379),
    enableReadyCheck: false,
    disableClientInfo: true,
    retryStrategy: () => null,
    lazyConnect: true,
  });
  link.on('error', () => {});
  try {
    await link.connect();
    return await link.call('AUTH', user, password).then(
      () => true,
      () => false,
    );
  } finally {
    link.disconnect();
  }
}
