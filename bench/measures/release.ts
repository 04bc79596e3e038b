import { seedCredentials } from '../../testkit/credentials.ts';
import { openBed } from '../bed.ts';
import { end, forkAndHear } from '../children.ts';
import { type Bench, type BenchContext, perSecond, quantile, type Result } from '../contract.ts';
import { cpuMs } from '../cpu.ts';
import { generateLoad, message } from '../generate-load.ts';

const REQUESTS = 30_000;
const CREDENTIALS = 2_000;
const CONNECTIONS = 100;

export const bench: Bench = {
  name: 'release',
  about: `token releases, each on the audit log first, ${CONNECTIONS} connections, against bare Fastify + findOne by id`,
  goal: 1.5,
  byDefault: true,
  run,
};

async function run(context: BenchContext): Promise<Result> {
  await using bed = await openBed(context);
  const { deps, env } = bed;
  const api = await bed.startApi();
  const args = [env.MONGODB_URI!, env.KEYTURN_DATABASE!];
  const bareServer = await forkAndHear<{ port: number }>('./bare-release.ts', args);
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
    await end(bareServer.child);
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
