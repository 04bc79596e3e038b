import { randomBytes } from 'node:crypto';
import { type Db, MongoClient, type MongoClientOptions } from 'mongodb';
import { afterAll, inject } from 'vitest';
import {
  type AuthorizationServer,
  type AuthorizationServerOptions,
  startAuthorizationServer,
} from './authorization-server.ts';
import '../setup/context.ts';

/** A database of this test file alone, with a client; both are gone after the file's tests. */
export type TestDatabase = { uri: string; name: string; client: MongoClient; db: Db };

/** Call it at the top of a test file or a `describe`. */
export function testDatabase(options: MongoClientOptions = {}): TestDatabase {
  const uri = inject('mongoUri');
  const name = `test_${unique()}`;
  const client = new MongoClient(uri, options);
  afterAll(async () => {
    await client.db(name).dropDatabase();
    await client.close();
  });
  return { uri, name, client, db: client.db(name) };
}

/** The shared Redis. Keep to a prefix of your own: others use it at the same time. */
export function testRedisUrl(): string {
  return inject('redisUrl');
}

/** A prefix for BullMQ that no other test uses. */
export function testQueuePrefix(): string {
  return `test-${unique()}`;
}

/** An authorization server that is stopped after the tests of the file. Call it at the top of a test file. */
export async function testAuthorizationServer(options?: AuthorizationServerOptions): Promise<AuthorizationServer> {
  const server = await startAuthorizationServer(options);
  afterAll(() => server.stop());
  return server;
}

function unique(): string {
  return randomBytes(6).toString('hex');
}
