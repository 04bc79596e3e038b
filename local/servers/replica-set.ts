import { MongoClient } from 'mongodb';
import { MongoMemoryReplSet, type MongoMemoryServer } from 'mongodb-memory-server-core';
import { setDefaultValue } from 'mongodb-memory-server-core/lib/util/resolveConfig.js';

// We found the binary ourselves; the library would run it once more to say that it is not the newest.
setDefaultValue('SYSTEM_BINARY_VERSION_CHECK' as Parameters<typeof setDefaultValue>[0], 'false');

/**
 * The library's replica set, but for data that outlives it. Members keep exactly the ports they were given, and a set
 * that has a configuration is not configured again by force, which races with mongod's own reading of it.
 */
export class KeptReplicaSet extends MongoMemoryReplSet {
  protected override _initServer(options: Parameters<MongoMemoryReplSet['_initServer']>[0]): MongoMemoryServer {
    const server = super._initServer(options);
    const start = server.start.bind(server);
    server.start = () => start(true);
    return server;
  }

  protected override async _initReplSet(): Promise<void> {
    if (!(await this.#hasConfiguration())) return super._initReplSet();
    await this._waitForPrimary();
    this.stateChange('running' as Parameters<MongoMemoryReplSet['stateChange']>[0]);
  }

  async #hasConfiguration(): Promise<boolean> {
    const [first] = this.servers;
    if (first === undefined) return false;
    const client = new MongoClient(first.getUri(), { directConnection: true });
    try {
      const options = { readPreference: 'secondaryPreferred' } as const;
      return (await client.db('local').collection('system.replset').findOne({}, options)) !== null;
    } finally {
      await client.close();
    }
  }
}
