import { onTestFinished } from 'vitest';
import { startProcess } from './keyturn.ts';

/** A worker process that freezes for good at one point, for a test that kills it exactly there. */
export type FreezingWorker = {
  /** Resolves when it is there. */
  frozen(): Promise<unknown>;
  kill9(): Promise<void>;
};

/** Starts a worker that freezes at `point` (the points: `freezing-worker.ts`), with nothing to do yet. It ends with the test. */
export async function startFreezing(env: Record<string, string>, point: string): Promise<FreezingWorker> {
  const worker = await startProcess('freezing', env, { args: [point] });
  onTestFinished(worker.kill9);
  await worker.waitForLog('running');
  return { frozen: () => worker.waitForLog('frozen'), kill9: worker.kill9 };
}
