import { BATCH, cloudEvent, STRUCTURED } from '../../testkit/messages/events.ts';
import { NOBODY, services } from '../../testkit/services.ts';
import { startApi } from '../api-process.ts';
import { end, forkAndHear } from '../children.ts';
import { type Bench, type BenchContext, perSecond, quantile, type Result } from '../contract.ts';
import { generateLoad, message } from '../generate-load.ts';

const BATCHES = 60;
const SIZE = 500;
const SINGLES = 6_000;

export const bench: Bench = {
  name: 'intake',
  about: `events in batches of ${SIZE}, each checked, sealed and durable, against raw insertMany + addBulk`,
  goal: 0.5,
  byDefault: true,
  run,
};

async function run(context: BenchContext): Promise<Result> {
  const env = context.environment({ ...services({ stub: NOBODY }), KEYTURN_BACKLOG_LIMIT: '10000000' });
  const api = await startApi(env);
  const bare: number[] = [];
  const ours: number[] = [];
  const singles: number[] = [];
  const total = BATCHES * SIZE;
  try {
    for (let round = 0; round < context.runs; round += 1) {
      const args = [env.MONGODB_URI!, env.KEYTURN_DATABASE!, env.REDIS_URL!, String(BATCHES), String(SIZE)];
      const yardstick = await forkAndHear<{ ms: number }>('./bare-intake.ts', args);
      await end(yardstick.child);
      bare.push(perSecond(total, yardstick.message.ms));
      const messages = Array.from({ length: BATCHES }, (_, batch) => batchMessage(api.key, `${round}-${batch}`));
      const result = await generateLoad({ port: api.port, connections: 4, requests: BATCHES, messages }, '202');
      ours.push(perSecond(total, result.ms));
      const single = Array.from({ length: SINGLES }, (_, index) => singleMessage(api.key, `s-${round}-${index}`));
      const one = await generateLoad({ port: api.port, connections: 50, requests: SINGLES, messages: single }, '202');
      singles.push(perSecond(SINGLES, one.ms));
      context.say(`  bare ${bare.at(-1)}/s, ours ${ours.at(-1)}/s, one by one ${singles.at(-1)}/s`);
    }
  } finally {
    await end(api.child);
  }
  return {
    ratios: ours.map((rate, round) => rate / bare[round]!),
    figures: {
      'insertMany + addBulk, events/s': quantile(bare, 0.5),
      'batches, events/s': quantile(ours, 0.5),
      'one by one over 50 connections, events/s': quantile(singles, 0.5),
    },
  };
}

function event(id: string) {
  const data = { service: 'stub', subject: `person-${id}`, accessToken: 'a-token-of-some-length-0123456789' };
  return cloudEvent('credential.import.requested', data, { id, source: '/bench' });
}

function batchMessage(key: string, name: string): string {
  const events = Array.from({ length: SIZE }, (_, index) => event(`${name}-${index}`));
  return message('POST', '/v1/events', key, {
    type: BATCH['content-type'],
    text: JSON.stringify(events),
  });
}

function singleMessage(key: string, id: string): string {
  return message('POST', '/v1/events', key, { type: STRUCTURED['content-type'], text: JSON.stringify(event(id)) });
}
