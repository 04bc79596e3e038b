/**
 * `npm run bench [-- names…] [--json] [--runs N]`: each measure against its yardstick in the same run, as a ratio; this
 * machine's absolute figures stand beside it.
 */
import { parseArgs } from 'node:util';
import { type Bench, quantile, type Result } from './contract.ts';
import { bench as containment } from './measures/containment.ts';
import { bench as intake } from './measures/intake.ts';
import { bench as million } from './measures/million.ts';
import { bench as refresh } from './measures/refresh.ts';
import { bench as release } from './measures/release.ts';
import { bench as reseal } from './measures/reseal.ts';
import { bench as scale } from './measures/scale.ts';
import { openStores } from './stores.ts';

/** Every measure there is, in the order in which they run. */
const MEASURES: readonly Bench[] = [containment, intake, million, refresh, release, reseal, scale];

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false }, runs: { type: 'string', default: '3' } },
  });
  const unknown = positionals.filter((name) => !MEASURES.some((bench) => bench.name === name));
  if (unknown.length > 0)
    throw new Error(`no bench ${unknown.join(', ')}; there are ${MEASURES.map(({ name }) => name).join(', ')}`);
  const chosen = MEASURES.filter((bench) =>
    positionals.length > 0 ? positionals.includes(bench.name) : bench.byDefault,
  );
  const say = (line: string) => process.stderr.write(`${line}\n`);
  const { stop, ...stores } = await openStores(say);
  try {
    for (const bench of chosen) {
      say(`\n${bench.name}: ${bench.about}`);
      print(bench, await bench.run({ ...stores, runs: Number(values.runs), say }), values.json);
    }
  } finally {
    await stop();
  }
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
