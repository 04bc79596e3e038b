import { setTimeout as pause } from 'node:timers/promises';
import { systemClock } from '../../src/shared/clock.ts';
import { parseConfig } from '../../src/shared/config.ts';
import type { Deps } from '../../src/shared/deps.ts';
import { makeLog } from '../../src/shared/log.ts';
import { openDeps } from '../../src/shared/open-deps.ts';
import { systemRandom } from '../../src/shared/random.ts';
import { end, forkAndHear, forkFile } from '../children.ts';
import { type Bench, type BenchContext, perSecond, quantile, type Result } from '../contract.ts';
import { seedCredentials } from '../seed.ts';

const COUNT = 6_000;
const TENANT = 'ten_bench';

export const plugin: Bench = {
  name: 'refresh',
  about: `${COUNT} credentials due at once, one worker process, against a bare simple-oauth2 loop on the same stub`,
  goal: 1,
  byDefault: true,
  run,
};

async function run(context: BenchContext): Promise<Result> {
  const stub = await forkAndHear<{ port: number }>('./stub-server.ts');
  const url = `http://127.0.0.1:${stub.message.port}`;
  const env = context.environment(stubProvider(url));
  const config = parseConfig(env);
  const log = makeLog('warn', {});
  const deps = await openDeps(config, { clock: systemClock, random: systemRandom, log });
  await seedCredentials(deps, { count: COUNT, service: 'stub', tenantId: TENANT });
  const worker = forkFile('../src/workers/main.ts', [], {
    ...env,
    KEYTURN_QUEUES: 'refresh,sweep',
    KEYTURN_REFRESH_CONCURRENCY: '32',
    ...(process.env.PROF && { NODE_OPTIONS: '--cpu-prof --cpu-prof-dir=/tmp/prof' }),
  });
  const bare: number[] = [];
  const ours: number[] = [];
  try {
    await refreshAll(deps, 1_000);
    for (let round = 0; round < context.runs; round += 1) {
      bare.push(await bareLoop(url));
      ours.push(perSecond(COUNT, await refreshAll(deps, COUNT)));
      context.say(`  bare ${bare.at(-1)}/s, ours ${ours.at(-1)}/s`);
    }
  } finally {
    await end(worker);
    await end(stub.child);
    await deps.close();
  }
  return {
    ratios: ours.map((rate, round) => rate / bare[round]!),
    figures: { 'bare loop, refreshes/s': quantile(bare, 0.5), 'one worker process, refreshes/s': quantile(ours, 0.5) },
  };
}

/** Variables of a service `stub` whose token endpoint is the stub server. */
export function stubProvider(url: string): Record<string, string> {
  return {
    KEYTURN_PROVIDERS: 'stub',
    KEYTURN_PROVIDER_STUB_TYPE: 'oauth2',
    KEYTURN_PROVIDER_STUB_CLIENT_ID: 'bench',
    KEYTURN_PROVIDER_STUB_CLIENT_SECRET: 'bench',
    KEYTURN_PROVIDER_STUB_AUTHORIZE_URL: `${url}/authorize`,
    KEYTURN_PROVIDER_STUB_TOKEN_URL: `${url}/token`,
  };
}

async function bareLoop(url: string): Promise<number> {
  const { child, message } = await forkAndHear<{ ms: number }>('./bare-refresh.ts', [url, String(COUNT)]);
  await end(child);
  return perSecond(COUNT, message.ms);
}

/** Makes so many due now and waits until every one has a newer generation. Milliseconds. */
async function refreshAll(deps: Deps, count: number): Promise<number> {
  const credentials = deps.database.collection('credentials');
  const chosen = await credentials
    .find({}, { projection: { _id: 1 } })
    .limit(count)
    .toArray();
  const ids = chosen.map((doc) => doc._id);
  const since = new Date();
  await credentials.updateMany({ _id: { $in: ids } }, { $set: { 'due.refresh': since } });
  const begin = performance.now();
  while ((await credentials.countDocuments({ 'due.refresh': { $lte: new Date(Date.now() + 600_000) } })) > 0)
    await pause(100);
  return performance.now() - begin;
}
