/** What may happen to a Keyturn in an hour of bad luck. Every fault heals itself before it resolves. */
import { setTimeout as pause } from 'node:timers/promises';
import type { TcpProxy } from '../../testkit/servers/tcp-proxy.ts';
import type { Dice } from './random.ts';
import type { Supervised, World } from './world.ts';

export type Fault = {
  name: string;
  weight: number;
  /** Two faults of one target do not happen at once. */
  target: 'processes' | 'mongo' | 'redis' | 'provider';
  /** Absent: always. */
  isPossible?(world: World): boolean;
  strike(world: World, dice: Dice): Promise<void>;
};

const anyWorker = (world: World, dice: Dice): Supervised => dice.pick(world.workers);

const processes: Fault[] = [
  {
    name: 'kill -9 of a worker',
    weight: 6,
    target: 'processes',
    strike: async (world, dice) => anyWorker(world, dice).current?.kill9(),
  },
  {
    name: 'kill -9 of the API',
    weight: 2,
    target: 'processes',
    strike: async (world) => world.api.current?.kill9(),
  },
  {
    name: 'SIGTERM of a worker',
    weight: 2,
    target: 'processes',
    strike: async (world, dice) => void (await anyWorker(world, dice).current?.sigterm({ timeoutMs: 20_000 })),
  },
  {
    name: 'a frozen worker',
    weight: 2,
    target: 'processes',
    strike: async (world, dice) => {
      const pid = anyWorker(world, dice).current?.pid;
      if (pid === undefined) return;
      signal(pid, 'SIGSTOP');
      await pause(dice.between(1_000, 9_000));
      signal(pid, 'SIGCONT');
    },
  },
];

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}

const redis: Fault[] = [
  {
    name: 'FLUSHALL',
    weight: 3,
    target: 'redis',
    strike: async (world) => void (await world.wipeRedis()),
  },
  {
    name: 'restart of Redis',
    weight: 2,
    target: 'redis',
    strike: (world, dice) => world.redis.restart({ downMs: dice.between(100, 3_000) }),
  },
  {
    name: 'kill -9 of Redis',
    weight: 1,
    target: 'redis',
    strike: async (world, dice) => {
      await world.redis.kill9();
      await world.redis.restart({ downMs: dice.between(100, 2_000) });
    },
  },
  ...network('redis', 2, (world) => world.wires.redis),
];

const mongo: Fault[] = [
  {
    name: 'stop of MongoDB',
    weight: 2,
    target: 'mongo',
    strike: (world, dice) => world.mongo.restart({ downMs: dice.between(100, 4_000) }),
  },
  {
    name: 'kill -9 of a MongoDB node',
    weight: 2,
    target: 'mongo',
    strike: async (world, dice) => {
      const node = world.nodes === 1 ? 0 : await world.primary();
      await world.mongo.kill9(node);
      await pause(dice.between(100, 3_000));
      await world.mongo.startNode(node);
    },
  },
  {
    name: 'step-down of MongoDB',
    weight: 3,
    target: 'mongo',
    strike: async (world, dice) => void (await world.stepDown(dice.between(1, 4))),
  },
  ...network('mongo', 2, (world) => world.wires.mongo),
];

const provider: Fault[] = [
  ...(['unavailable', 'throttled', 'html', 'hang', 'reset', 'lost'] as const).map(
    (failure): Fault => ({
      name: `provider: ${failure}`,
      weight: failure === 'lost' ? 0.5 : 1,
      target: 'provider',
      strike: async (world, dice) => {
        world.provider.setFailure(failure, dice.between(1, failure === 'lost' ? 2 : 30));
        await pause(dice.between(500, 4_000));
        world.provider.setFailure(null);
      },
    }),
  ),
  {
    name: 'provider: slow',
    weight: 2,
    target: 'provider',
    strike: async (world, dice) => {
      world.provider.setLatency(dice.between(200, 3_000));
      await pause(dice.between(500, 4_000));
      world.provider.setLatency(0);
    },
  },
  ...network('provider', 1, (world) => world.wires.provider),
];

/** Slow, cut, silent and closed wires. */
function network(target: Fault['target'], weight: number, wireOf: (world: World) => TcpProxy | null): Fault[] {
  const fault = (name: string, strike: (wire: TcpProxy, dice: Dice) => Promise<void>): Fault => ({
    name: `network to ${target}: ${name}`,
    weight,
    target,
    isPossible: (world) => wireOf(world) !== null,
    strike: async (world, dice) => {
      const wire = wireOf(world);
      if (wire) await strike(wire, dice);
    },
  });
  return [
    fault('slow', async (wire, dice) => {
      wire.setLatency(dice.between(20, 600));
      await pause(dice.between(500, 4_000));
      wire.setLatency(0);
    }),
    fault('cut', async (wire, dice) => wire.cut(dice.pick(['fin', 'rst']))),
    fault('silent', async (wire, dice) => {
      wire.blackHole(true);
      await pause(dice.between(300, 6_000));
      wire.cut('rst');
      wire.blackHole(false);
    }),
    fault('closed', async (wire, dice) => {
      await wire.down();
      await pause(dice.between(100, 3_000));
      await wire.up();
    }),
  ];
}

export const FAULTS: readonly Fault[] = [...processes, ...redis, ...mongo, ...provider];
