import type { ChildProcess } from 'node:child_process';
import type { OpenedDeps } from '../src/shared/runtime/open-deps.ts';
import { openParts } from '../testkit/deps.ts';
import { type ServiceSettings, services, withoutEnd } from '../testkit/services.ts';
import { type ApiProcess, startApi } from './api-process.ts';
import { end, forkAndHear, forkFile } from './children.ts';
import type { BenchContext } from './contract.ts';

/** What most measures stand on: a Keyturn of its own, and the service `stub` in a process beside it. */
export type Bed = AsyncDisposable & {
  /** Where the stub is. */
  readonly url: string;
  readonly env: Record<string, string>;
  /** Its parts in this process, to prepare and to watch it. */
  readonly deps: OpenedDeps;
  startApi(): Promise<ApiProcess>;
  startWorker(extra?: Record<string, string>): ChildProcess;
};

export type BedOptions = {
  /** What the stub is started with: how long an answer takes, and how long a token lives. */
  latencyMs?: number;
  lifeSeconds?: number;
  /** Settings of the service `stub`, and services beside it. */
  stub?: ServiceSettings;
  services?: Record<string, ServiceSettings>;
  extra?: Record<string, string>;
};

/** Opens it; what was started ends with it, the last first. */
export async function openBed(context: Pick<BenchContext, 'environment'>, options: BedOptions = {}): Promise<Bed> {
  await using opened = new AsyncDisposableStack();
  const args = [String(options.latencyMs ?? 0), String(options.lifeSeconds ?? 3_600)];
  const stub = await forkAndHear<{ port: number }>('../testkit/providers/stub-process.ts', args);
  opened.defer(() => end(stub.child));
  const url = `http://127.0.0.1:${stub.message.port}`;
  const all = services({ stub: { ...withoutEnd(url), ...options.stub }, ...options.services });
  const env = context.environment({ ...all, ...options.extra });
  const deps = await openParts(env);
  opened.defer(() => deps.close());
  const parts = opened.move();
  return {
    url,
    env,
    deps,
    startApi: async () => {
      const api = await startApi(env);
      parts.defer(() => end(api.child));
      return api;
    },
    startWorker: (extra = {}) => {
      const worker = forkFile('../src/workers/main.ts', [], { ...env, ...extra });
      parts.defer(() => end(worker));
      return worker;
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}
