import { z } from 'zod';
import { FIRST_TENANT_ID } from '../bootstrap.ts';
import type { Api, App } from '../context.ts';

const CHECK_MS = 2_000;

const readySchema = z.object({ status: z.enum(['ready', 'not_ready']), checks: z.record(z.string(), z.boolean()) });

/** `/healthz`: the process lives. `/readyz`: it can serve. `/metrics`: Prometheus. All open to anyone. */
export function healthRoutes(app: App, { deps, metrics, stopping }: Api): void {
  const config = { open: true } as const;
  const tags = ['operation'];
  const alive = z.object({ status: z.literal('ok') });

  app.get(
    '/healthz',
    { config, exposeHeadRoute: true, schema: { tags, summary: 'The process lives', response: { 200: alive } } },
    async () => ({ status: 'ok' as const }),
  );

  const checks: Record<string, () => Promise<unknown>> = {
    mongodb: () => deps.database.db.command({ ping: 1 }),
    redis: () => deps.hints.ping(),
    // Opens a data key: from the cache while that is allowed, else from the key provider.
    keys: () => deps.vault.mac(FIRST_TENANT_ID, 'ready'),
    secrets: () => deps.secrets.health(),
    running: async () => stopping.throwIfAborted(),
  };

  app.get(
    '/readyz',
    {
      config,
      schema: { tags, summary: 'The process can serve', response: { 200: readySchema, 503: readySchema } },
    },
    async (_, reply) => {
      const names = Object.keys(checks);
      const passed = await Promise.all(names.map((name) => passes(checks[name]!)));
      const ready = passed.every(Boolean);
      reply.code(ready ? 200 : 503);
      return {
        status: ready ? ('ready' as const) : ('not_ready' as const),
        checks: Object.fromEntries(names.map((name, index) => [name, passed[index]!])),
      };
    },
  );

  app.get('/metrics', { config, schema: { tags, summary: 'Metrics for Prometheus' } }, async (_, reply) =>
    reply.type(metrics.registry.contentType).send(await metrics.registry.metrics()),
  );

  async function passes(check: () => Promise<unknown>): Promise<boolean> {
    const ended = new AbortController();
    const late = deps.clock.sleep(CHECK_MS, ended.signal).then(() => false);
    const verdict = check().then(
      () => true,
      () => false,
    );
    return Promise.race([verdict, late]).finally(() => ended.abort());
  }
}
