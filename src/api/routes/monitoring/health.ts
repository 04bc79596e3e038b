import { z } from 'zod';
import { FIRST_TENANT_ID } from '../../../shared/access/bootstrap.ts';
import type { Api, App } from '../../http/context.ts';

const CHECK_MS = 2_000;

const readySchema = z.object({ status: z.enum(['ready', 'not_ready']), checks: z.record(z.string(), z.boolean()) });

const config = { open: true } as const;
const tags = ['operation'];

/** `/healthz`: the process lives. `/readyz`: it can serve. `/metrics`: for Prometheus. All are open to anyone. */
export function monitoringRoutes(app: App, api: Api): void {
  const alive = z.object({ status: z.literal('ok') });
  app.get(
    '/healthz',
    { config, exposeHeadRoute: true, schema: { tags, summary: 'The process lives', response: { 200: alive } } },
    async () => ({ status: 'ok' as const }),
  );
  app.get('/metrics', { config, schema: { tags, summary: 'Metrics for Prometheus' } }, async (_, reply) =>
    reply.type(api.metrics.registry.contentType).send(await api.metrics.registry.metrics()),
  );
  readyRoute(app, api);
}

function readyRoute(app: App, { deps, stopping }: Api): void {
  const checks: Record<string, () => Promise<unknown>> = {
    mongodb: () => deps.database.db.command({ ping: 1 }),
    redis: () => deps.hints.ping(),
    // Opens a data key: from the cache while that is allowed, else from the key provider.
    keys: () => deps.sealer.mac(FIRST_TENANT_ID, 'ready'),
    secrets: () => deps.secrets.health(),
    running: async () => stopping.throwIfAborted(),
  };
  const response = { 200: readySchema, 503: readySchema };
  app.get('/readyz', { config, schema: { tags, summary: 'The process can serve', response } }, async (_, reply) => {
    const names = Object.keys(checks);
    const passed = await Promise.all(names.map((name) => passes(deps, checks[name]!)));
    const ready = passed.every(Boolean);
    reply.code(ready ? 200 : 503);
    return {
      status: ready ? ('ready' as const) : ('not_ready' as const),
      checks: Object.fromEntries(names.map((name, index) => [name, passed[index]!])),
    };
  });
}

/** A check that does not answer in time has failed. */
async function passes({ clock }: Pick<Api['deps'], 'clock'>, check: () => Promise<unknown>): Promise<boolean> {
  const ended = new AbortController();
  const late = clock.sleep(CHECK_MS, ended.signal).then(() => false);
  const verdict = check().then(
    () => true,
    () => false,
  );
  return Promise.race([verdict, late]).finally(() => ended.abort());
}
