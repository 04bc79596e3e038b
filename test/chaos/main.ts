/**
 * `npm run chaos -- [--seconds N] [--seed S] [--nodes 1|3]`: a Keyturn under load and under faults. The last line is JSON;
 * the exit code is 1 where a promise broke, and the seed says how to draw the same faults again.
 */
import { parseArgs } from 'node:util';
import { runChaos } from './run.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    nodes: { type: 'string', default: '1' },
  },
});
const options = { seconds: Number(values.seconds), seed: Number(values.seed), nodes: Number(values.nodes) };
const say = (line: string) => void process.stderr.write(`${line}\n`);
const replay = `npm run chaos -- --seconds ${options.seconds} --seed ${options.seed} --nodes ${options.nodes}`;

say(replay);
const { problems, ...report } = await runChaos({ ...options, say });
for (const problem of problems) say(`broken: ${problem}`);
if (problems.length > 0) say(`again: ${replay}`);
process.stdout.write(`${JSON.stringify(report)}\n`);
process.exitCode = problems.length > 0 ? 1 : 0;
