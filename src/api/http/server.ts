import type { AddressInfo } from 'node:net';
import { fastify } from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Deps } from '../../shared/runtime/deps.ts';
import type { App } from './context.ts';
import { cutOff, sendProblem } from './problem.ts';

const MAX_BODY_BYTES = 256 * 1024;

/** The HTTP server without a route. It validates by the zod schemas of the routes, and every error leaves as a problem. */
export function makeServer({ config, random, log }: Pick<Deps, 'config' | 'random' | 'log'>): App {
  const app = fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    trustProxy: config.trustedProxies.length > 0 ? config.trustedProxies : false,
    genReqId: () => `req_${random.bytes(12).toString('base64url')}`,
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    requestTimeout: 30_000,
    routerOptions: { maxParamLength: 300, ignoreTrailingSlash: true },
    clientErrorHandler: cutOff,
    frameworkErrors: (error, request, reply) => void sendProblem(log, error, request, reply),
  }).withTypeProvider<ZodTypeProvider>() as unknown as App;
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler((error, request, reply) => sendProblem(log, error, request, reply));
  app.removeContentTypeParser('text/plain');
  return app;
}

/** Where this process itself listens: the configured address, with the port that it got. */
export function addressOf(app: App, { host, port }: Pick<Deps['config'], 'host' | 'port'>): string {
  const address = app.server.address() as AddressInfo | null;
  const shown = ['0.0.0.0', '::'].includes(host) ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `http://${shown}:${address?.port ?? port}`;
}
