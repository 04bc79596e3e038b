/** The yardstick: `insertMany` of the events as they are and `addBulk` of a job each; nothing checked or sealed. */
import { randomUUID } from 'node:crypto';
import { Queue } from 'bullmq';
import { MongoClient } from 'mongodb';

const [, , uri = '', database = '', redis = '', batches = '0', size = '0'] = process.argv;
const client = await new MongoClient(uri).connect();
const events = client.db(database).collection<{ _id: string }>('bare_events', { writeConcern: { w: 'majority' } });
const queue = new Queue('bare', { connection: { url: redis }, prefix: `{${database}}` });

const CONCURRENCY = 4;
let left = Number(batches);

async function takeTurns(): Promise<void> {
  while (left > 0) {
    left -= 1;
    const docs = Array.from({ length: Number(size) }, () => ({
      _id: randomUUID() as string,
      source: '/bench',
      type: 'credential.import.requested',
      data: { service: 'stub', subject: 'person', accessToken: 'a-token-of-some-length-0123456789' },
    }));
    await events.insertMany(docs, { ordered: false });
    await queue.addBulk(
      docs.map(({ _id }) => ({ name: 'event', data: { id: _id }, opts: { removeOnComplete: true } })),
    );
  }
}

const before = performance.now();
await Promise.all(Array.from({ length: CONCURRENCY }, takeTurns));
const ms = performance.now() - before;
await queue.obliterate({ force: true });
await queue.close();
await client.close();
process.send?.({ ms });
