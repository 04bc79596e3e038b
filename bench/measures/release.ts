import { startApi } from '../api-process.ts';
import { end, forkAndHear } from '../children.ts';
import { type Bench, type BenchContext, perSecond, quantile, type Result } from '../contract.ts';
import { cpuMs } from '../cpu.ts';
import { generateLoad, message } from '../generate-load.ts';
import { openBench } from '../open.ts';
import { seedCredentials } from '../seed.ts';
import { stubProvider } from './refresh.ts';

const REQUESTS = 30_000;
const CREDENTIALS = 2_000;
const CONNECTIONS = 100;

export const plugin: Bench = {
  name: 'release',
  about: `token releases, each on the audit log first, ${CONNECTIONS} connections, against bare Fastify + findOne by id`,
  goal: 1.5,
  byDefault: true,
  run,
};

async function run(context: BenchContext): Promise<Result> {
  const env = context.environment(stubProvider('http://127.0.0.1:9'));
  const deps = await openBench(env);
  const api = await startApi(env);
  const bareServer = await forkAndHear<{ port: number }>('./bare-release.ts', [
    env.MONGODB_URI!,
    env.KEYTURN_DATABASE!,
  ]);
  const bare: number[] = [];
  const ours: number[] = [];
  let apiCpu = 0;
  let mongoCpu = 0;
  try {
    const ids = await seedCredentials(deps, { count: CREDENTIALS, service: 'stub', tenantId: api.tenantId });
    const messages = ids.map((id) => message('GET', `/v1/credentials/${id}/token`, api.key));
    const load = { connections: CONNECTIONS, requests: REQUESTS, messages };
    await generateLoad({ ...load, requests: 3_000, port: api.port }, '200');
    for (let round = 0; round < context.runs; round += 1) {
      bare.push(perSecond(REQUESTS, (await generateLoad({ ...load, port: bareServer.message.port }, '200')).ms));
      const before = [cpuMs(api.child.pid), cpuMs(...context.mongo.pids)] as const;
      ours.push(perSecond(REQUESTS, (await generateLoad({ ...load, port: api.port }, '200')).ms));
      apiCpu = (cpuMs(api.child.pid) - before[0]) / REQUESTS;
      mongoCpu = (cpuMs(...context.mongo.pids) - before[1]) / REQUESTS;
      context.say(`  bare ${bare.at(-1)}/s, ours ${ours.at(-1)}/s`);
    }
  } finally {
    await Promise.all([end(api.child), end(bareServer.child)]);
    await deps.close();
  }
  return {
    ratios: ours.map((rate, round) => rate / bare[round]!),
    figures: {
      'bare Fastify + findOne, releases/s': quantile(bare, 0.5),
      'audited releases/s': quantile(ours, 0.5),
      'CPU of the API, µs/release': Math.round(apiCpu * 1000),
      'CPU of mongod, µs/release': Math.round(mongoCpu * 1000),
    },
  };
}
