import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import type { Config } from '../shared/platform/config/parse.ts';
import { AppError } from '../shared/platform/errors.ts';
import type { Metrics } from '../shared/runtime/metrics.ts';

export type MetricsServer = { close(): Promise<void> };

type ServerDeps = { config: Pick<Config, 'host' | 'workersPort'>; log: Pick<Logger, 'info'> };

/**
 * Serves `GET /metrics` (Prometheus) and `GET /healthz` (the process lives) on KEYTURN_WORKERS_PORT; everything else is 404.
 * Where the variable is not set, nothing listens. Throws `config_invalid` when the address cannot be had.
 */
export async function serveMetrics(
  { config: { host, workersPort: port }, log }: ServerDeps,
  { registry }: Pick<Metrics, 'registry'>,
): Promise<MetricsServer> {
  if (port === undefined) return { close: async () => {} };
  const answers: Record<string, (response: ServerResponse) => Promise<void>> = {
    '/healthz': async (response) =>
      void response.writeHead(200, { 'content-type': 'application/json' }).end('{"status":"ok"}'),
    '/metrics': async (response) =>
      void response.writeHead(200, { 'content-type': registry.contentType }).end(await registry.metrics()),
  };
  const server = createServer(({ method, url = '' }, response) => {
    const path = url.split('?')[0]!;
    const answer = method === 'GET' && Object.hasOwn(answers, path) ? answers[path] : undefined;
    if (!answer) response.writeHead(404).end();
    else answer(response).catch(() => response.destroy());
  });
  const address = await listen(server, host, port);
  log.info({ address }, 'serving metrics');
  return { close: () => close(server) };
}

/** Resolves to the address as a URL: port 0 takes a free one. */
async function listen(server: Server, host: string, port: number): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, resolve);
  }).catch((cause: NodeJS.ErrnoException) => {
    const detail = `KEYTURN_HOST and KEYTURN_WORKERS_PORT: cannot listen on ${host}, port ${port} (${cause.code}).`;
    throw new AppError('config_invalid', { cause, detail });
  });
  const { address, port: taken, family } = server.address() as AddressInfo;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${taken}`;
}

/** A scraper keeps its connection: it is not waited for. */
async function close(server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}
