import type { ChildProcess } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import { MongoMemoryServer } from 'mongodb-memory-server-core';
import { freePort } from '../tools/ports.ts';
import { KeptReplicaSet } from './replica-set.ts';

const REPLICA_SET = 'keyturn';
const PORTS_FILE = 'ports.json';
const LAUNCH_WITHIN_MS = 60_000;

/** A replica set that we started, alone on its ports. */
export type MongoServer = {
  readonly uri: string;
  /** Process ids, first node first. They change with every restart. */
  readonly pids: number[];
  /** kill -9 of one node, as a crash would. `startNode` brings it back, and so does `restart`. */
  kill9(node?: number): Promise<void>;
  /** Starts one node that was killed, on its port and data. */
  startNode(node?: number): Promise<void>;
  /** Stops all nodes in good order, waits `downMs`, starts them on the same ports and data. */
  restart(options?: { downMs?: number }): Promise<void>;
  stop(): Promise<void>;
};

export type MongoOptions = {
  binary: string;
  /** Where the data is kept; made when missing. */
  dir: string;
  /** One node will do; three for tests of elections. */
  nodes?: number;
  /** Memory for the cache of each node. mongod takes half of the machine's unless told. */
  cacheGb?: number;
};

/** Starts a replica set on loopback. Data, and ports where they are still free, are those of the last start. */
export async function startMongo({ binary, dir, nodes = 1, cacheGb = 0.25 }: MongoOptions): Promise<MongoServer> {
  await refuseSecond(dir);
  const members = await placeMembers(binary, dir, nodes);
  const args = ['--wiredTigerCacheSizeGB', String(cacheGb), '--setParameter', 'diagnosticDataCollectionEnabled=false'];
  const replSet = new KeptReplicaSet({
    binary: { systemBinary: binary, checkMD5: false },
    replSet: {
      name: REPLICA_SET,
      count: nodes,
      storageEngine: 'wiredTiger',
      args,
      // A group of its own: Ctrl-C must reach us first.
      spawn: { detached: true },
    },
    instanceOpts: members.map((member) => ({
      ...member,
      storageEngine: 'wiredTiger',
      launchTimeout: LAUNCH_WITHIN_MS,
    })),
  });
  await replSet.start();
  const hosts = members.map(({ port }) => `127.0.0.1:${port}`).join(',');
  const mongod = (node: number) => replSet.servers[node]?.instanceInfo?.instance.mongodProcess;
  return {
    uri: `mongodb://${hosts}/?replicaSet=${REPLICA_SET}`,
    get pids() {
      return members.map((_, node) => mongod(node)?.pid ?? 0);
    },
    kill9: (node = 0) => killAndWait(mongod(node)),
    async startNode(node = 0) {
      const server = replSet.servers[node];
      await server?.stop({ doCleanup: false });
      await server?.start(true);
    },
    async restart({ downMs = 0 } = {}) {
      await replSet.stop({ doCleanup: false });
      await new Promise((resolve) => setTimeout(resolve, downMs));
      await replSet.start();
    },
    async stop() {
      await replSet.stop({ doCleanup: false });
    },
  };
}

type Member = { dbPath: string; port: number };

/**
 * The replica set's configuration, which lies in the data, names host and port of each member. A member whose port was
 * taken meanwhile is moved: its configuration is rewritten while it runs alone.
 */
async function placeMembers(binary: string, dir: string, nodes: number): Promise<Member[]> {
  await mkdir(dir, { recursive: true });
  const before = await readPorts(dir);
  const members: Member[] = [];
  for (let node = 0; node < nodes; node += 1) {
    const dbPath = join(dir, `node-${node}`);
    await mkdir(dbPath, { recursive: true });
    members.push({ dbPath, port: await unusedPort(members, before[node]) });
  }
  const moved = members.some(({ port }, node) => before[node] !== undefined && before[node] !== port);
  if (moved) for (const member of members) await rewriteMembers(binary, member, members);
  await writeFile(join(dir, PORTS_FILE), JSON.stringify(members.map(({ port }) => port)));
  return members;
}

/** mongod leaves its process id in its lock file, and empties the file when it ends in good order. */
async function refuseSecond(dir: string): Promise<void> {
  const lock = await readFile(join(dir, 'node-0', 'mongod.lock'), 'utf8').catch(() => '');
  const pid = Number(lock.trim());
  const name = pid > 0 ? await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '') : '';
  if (!name.startsWith('mongod')) return;
  throw new Error(`MongoDB (process ${pid}) already runs on the data in ${dir}: is Keyturn running there already?`);
}

async function unusedPort(members: Member[], preferred: number | undefined): Promise<number> {
  const port = await freePort(preferred);
  return members.some((member) => member.port === port) ? unusedPort(members, undefined) : port;
}

async function readPorts(dir: string): Promise<(number | undefined)[]> {
  const text = await readFile(join(dir, PORTS_FILE), 'utf8').catch(() => '[]');
  return JSON.parse(text) as number[];
}

/** Starts one node outside of its replica set and writes the new ports into its copy of the configuration. */
async function rewriteMembers(binary: string, { dbPath, port }: Member, members: Member[]): Promise<void> {
  const server = new MongoMemoryServer({
    binary: { systemBinary: binary },
    instance: { dbPath, port, storageEngine: 'wiredTiger', launchTimeout: LAUNCH_WITHIN_MS },
  });
  await server.start(true);
  const client = new MongoClient(server.getUri(), { directConnection: true });
  try {
    const configs = client.db('local').collection('system.replset');
    for (const [node, member] of members.entries()) {
      await configs.updateOne({}, { $set: { [`members.${node}.host`]: `127.0.0.1:${member.port}` } });
    }
  } finally {
    await client.close();
    await server.stop({ doCleanup: false });
  }
}

async function killAndWait(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGKILL');
  await exited;
}
