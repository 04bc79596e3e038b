/**
 * `npm run bench [-- names…] [--json] [--runs N]`: each measure against its yardstick in the same run, as a ratio; this
 * machine's absolute figures stand beside it.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findMongod } from '../local/mongod.ts';
import { findRedis, startRedis } from '../local/redis.ts';
import { startMongo } from '../local/servers.ts';
import { loadPlugin, pluginNames } from '../src/shared/platform/plugins.ts';
import { type Bench, type BenchContext, quantile, type Result } from './contract.ts';

const FOLDER = new URL('./measures/', import.meta.url);

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false }, runs: { type: 'string', default: '3' } },
  });
  const names = await pluginNames(FOLDER, import.meta.url);
  const all = await Promise.all(names.map((name) => loadPlugin<Bench>(FOLDER, import.meta.url, 'bench', name)));
  const unknown = positionals.filter((name) => !all.some((bench) => bench.name === name));
  if (unknown.length > 0)
    throw new Error(`no bench ${unknown.join(', ')}; there are ${all.map(({ name }) => name).join(', ')}`);
  const chosen = all.filter((bench) => (positionals.length > 0 ? positionals.includes(bench.name) : bench.byDefault));
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const dir = await mkdtemp(join(tmpdir(), 'keyturn-bench-'));
  const mongo = await startMongo({
    binary: await findMongod({ env: process.env, progress: say }),
    dir: join(dir, 'mongo'),
    cacheGb: 2,
  });
  const redis = await startRedis({ binary: await findRedis(process.env, say), dir: join(dir, 'redis') });
  try {
    for (const bench of chosen) {
      say(`\n${bench.name}: ${bench.about}`);
      const environment = environmentOf(mongo.uri, redis.url, join(dir, bench.name));
      print(bench, await bench.run({ mongo, redis, environment, runs: Number(values.runs), say }), values.json);
    }
  } finally {
    await Promise.allSettled([mongo.stop(), redis.stop()]);
    await rm(dir, { recursive: true, force: true });
  }
}

function environmentOf(mongoUri: string, redisUrl: string, dir: string): BenchContext['environment'] {
  return (extra = {}) => {
    const unique = randomBytes(4).toString('hex');
    return {
      MONGODB_URI: mongoUri,
      REDIS_URL: redisUrl,
      KEYTURN_DATABASE: `bench_${unique}`,
      KEYTURN_QUEUE_PREFIX: `bench-${unique}`,
      KEYTURN_ROOT_KEYS: randomBytes(32).toString('base64'),
      KEYTURN_JOURNAL_DIR: join(dir, unique, 'journal'),
      KEYTURN_OCSF_DIR: join(dir, unique, 'ocsf'),
      KEYTURN_LOG_LEVEL: 'warn',
      ...extra,
    };
  };
}

function print(bench: Bench, { ratios, figures }: Result, json: boolean): void {
  const ratio = ratios.length === 0 ? null : round(quantile(ratios, 0.5));
  const [min, max] = ratios.length === 0 ? [null, null] : [round(Math.min(...ratios)), round(Math.max(...ratios))];
  if (json) {
    const line = { bench: bench.name, ratio, goal: bench.goal, runs: ratios.length, min, max, figures };
    process.stdout.write(`${JSON.stringify(line)}\n`);
    return;
  }
  const verdict = ratio === null || bench.goal === null ? '' : ratio >= bench.goal ? ' met' : ' NOT met';
  const head =
    ratio === null ? bench.name : `${bench.name}  ratio ${ratio} (${min}–${max}, goal ${bench.goal ?? '–'}${verdict})`;
  process.stdout.write(`${head}\n`);
  for (const [name, value] of Object.entries(figures)) process.stdout.write(`    ${name.padEnd(44)} ${value}\n`);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

await main();
