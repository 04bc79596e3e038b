/** `npm run demo`: the whole life of a credential on this machine, from consent to a forged log. Nothing is left behind. */
import type { Environment } from '../tools/apt.ts';
import type { Story } from './stage/contract.ts';
import { openWorld } from './stage/world.ts';
import { STEPS } from './story.ts';

const say = (line: string) => process.stdout.write(`${line}\n`);
const running = new AsyncDisposableStack();

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => void stop(1));
// A terminal that was closed cannot be told anything; that must not keep us from stopping.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

async function stop(exitCode: number): Promise<void> {
  await running.disposeAsync().catch((error: Error) => process.stderr.write(`${error.message}\n`));
  process.exit(exitCode);
}

async function main(env: Environment): Promise<void> {
  const startedAt = performance.now();
  say('Keyturn demo. SANDBOX: the provider is a pretended one, everything runs on loopback.');
  const world = await openWorld(env, running, (line) => say(`     ${line}`));
  say(`     servers, provider and Keyturn are up (${seconds(startedAt)} s)\n`);
  const story: Story = { credentialId: '', webhookSecret: '' };
  for (const [index, { title, run }] of STEPS.entries()) {
    const stepAt = performance.now();
    const lines = await run(world, story).catch((error: Error) => {
      throw new Error(`Step ${index + 1} failed (${title}): ${error.message}`);
    });
    say(`${String(index + 1).padStart(2)}.  ${title} (${Math.round(performance.now() - stepAt)} ms)`);
    for (const line of lines) say(`     ${line}`);
  }
  say(`\nAll of it held, in ${seconds(startedAt)} s.`);
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1_000).toFixed(1);
}

await main(process.env).then(
  () => stop(0),
  async (error: Error) => {
    process.stderr.write(`${error.message}\n`);
    await stop(1);
  },
);
