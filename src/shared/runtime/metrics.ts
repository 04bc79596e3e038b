import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Hints } from '../queue/hints.ts';
import { JOB_NAMES } from '../queue/jobs.ts';

export type Metrics = ReturnType<typeof makeMetrics>;

/** The metrics of one process. Labels are services, routes and codes: never an id, a subject or a secret. */
export function makeMetrics() {
  const registry = new Registry();
  const registers = [registry];
  return {
    registry,
    httpSeconds: new Histogram({
      name: 'keyturn_http_request_duration_seconds',
      help: 'Duration of HTTP requests',
      labelNames: ['method', 'route', 'status'] as const,
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15],
      registers,
    }),
    events: new Counter({
      name: 'keyturn_events_total',
      help: 'Events that came in, by the receipt they got',
      labelNames: ['status'] as const,
      registers,
    }),
    releases: new Counter({
      name: 'keyturn_token_releases_total',
      help: 'Token releases, by outcome (released, or the code of the refusal)',
      labelNames: ['service', 'outcome'] as const,
      registers,
    }),
    refreshes: new Counter({
      name: 'keyturn_refreshes_total',
      help: 'Refreshes at providers, by outcome (refreshed, or the code of the failure)',
      labelNames: ['service', 'outcome'] as const,
      registers,
    }),
  };
}

/** Adds the metrics of the Node process itself: memory, event loop, garbage collection. */
export function watchProcess({ registry }: Metrics): void {
  collectDefaultMetrics({ register: registry });
}

/** Adds the depth of every queue, asked for at each scrape; a queue that cannot be asked is left out. */
export function watchQueues({ registry }: Metrics, hints: Hints): void {
  new Gauge({
    name: 'keyturn_queue_waiting',
    help: 'Jobs that wait in a queue',
    labelNames: ['queue'] as const,
    registers: [registry],
    async collect() {
      this.reset();
      const depths = await Promise.allSettled(JOB_NAMES.map((queue) => hints.waiting(queue)));
      depths.forEach((depth, index) => {
        if (depth.status === 'fulfilled') this.set({ queue: JOB_NAMES[index]! }, depth.value);
      });
    },
  });
}
