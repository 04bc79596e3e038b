import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { startServers } from '../../local/servers/both.ts';
import './context.ts';

/** One MongoDB and one Redis for the whole run: those of MONGODB_URI and REDIS_URL, else our own in a temporary folder. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { MONGODB_URI: mongoUri, REDIS_URL: redisUrl } = process.env;
  if (mongoUri && redisUrl) {
    project.provide('mongoUri', mongoUri);
    project.provide('redisUrl', redisUrl);
    return async () => {};
  }
  const servers = await startServers({
    env: process.env,
    dir: await mkdtemp(join(tmpdir(), 'keyturn-test-')),
    ephemeral: true,
    progress: (line) => process.stderr.write(`keyturn: ${line}\n`),
  });
  project.provide('mongoUri', servers.mongo.uri);
  project.provide('redisUrl', servers.redis.url);
  return () => servers.stop();
}
