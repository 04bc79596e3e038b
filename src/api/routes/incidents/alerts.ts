import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { findAddress, verifyDelivery } from '../../../shared/incidents/alerts/address.ts';
import { acceptLeaks } from '../../../shared/incidents/alerts/intake.ts';
import { type AlertRefusal, makeAlertRefusalRecord } from '../../../shared/incidents/alerts/refusals.ts';
import type { AlertSource } from '../../../shared/incidents/alerts/sources/contract.ts';
import { loadAlertSources } from '../../../shared/incidents/alerts/sources/load.ts';
import { AppError, toAppError } from '../../../shared/platform/errors.ts';
import { currentTraceparent } from '../../../shared/platform/traceparent.ts';
import { type Api, type App, originOf } from '../../http/context.ts';
import { refusals, sendProblem, toHttpError } from '../../http/problem.ts';

const MAX_BODY_BYTES = 1024 * 1024;

const params = z.object({ source: z.string().max(40), id: z.string().max(100).optional() });
type Params = z.infer<typeof params>;

const about = [
  'No API key: a delivery is checked by its own signature. A leak that is about one of our credentials is durable, and the',
  'release of that credential stopped, before the answer; refusals are on the log.',
].join(' ');

/**
 * `POST /v1/alerts/{source}/{id}`: to the address of one tenant's source. `POST /v1/alerts/{source}`: to the one address
 * for all tenants, where the party signs with a key that it publishes.
 */
export function alertRoutes(app: App, api: Api): void {
  void app.register(async (scope) => {
    const child = scope as App;
    const sources = await openSources(api);
    const record = makeAlertRefusalRecord(api.deps);
    takeAnyBody(child);
    recordRefusals(child, api, record);
    for (const url of ['/v1/alerts/:source/:id', '/v1/alerts/:source']) {
      child.post(
        url,
        {
          bodyLimit: MAX_BODY_BYTES,
          config: {
            open: true,
            documentedBody: { '*/*': z.unknown().meta({ description: "In the source's format" }) },
          },
          schema: {
            tags: ['alerts'],
            summary: 'Takes leaks that others have found',
            description: about,
            params,
            response: { 200: z.unknown(), 202: z.unknown(), ...refusals },
          },
        },
        async (request, reply) => {
          const { code, body } = await receive(api, sources, record, request);
          reply.code(code);
          return body;
        },
      );
    }
  });
}

async function openSources({ deps }: Api): Promise<Map<string, AlertSource>> {
  const plugins = await loadAlertSources();
  return new Map([...plugins].map(([name, plugin]) => [name, plugin.create(deps)]));
}

/** The signature is over the bytes as they came, whatever type they claim to be. */
function takeAnyBody(app: App): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_, raw, done) => done(null, raw));
}

type RecordRefusal = (refusal: AlertRefusal) => Promise<void>;

/** Puts what is refused on the record of the tenant that it was meant for, then answers as everywhere. */
function recordRefusals(app: App, { deps }: Api, record: RecordRefusal): void {
  app.setErrorHandler(async (thrown, request, reply) => {
    const error = toHttpError(thrown);
    if (isRefusal(error)) {
      await record({ ...(await addressee(deps, request)), reason: reasonOf(error), origin: originOf(request) });
    }
    return sendProblem(deps.log, error, request, reply);
  });
}

function isRefusal(error: AppError): boolean {
  return error.status < 500 && error.code !== 'overloaded';
}

function reasonOf(error: AppError): string {
  if (error.code === 'payload_too_large') return 'too_large';
  return error.internal ?? error.code;
}

/** The tenant's source that a refused delivery was meant for; null fields where the address names none. */
async function addressee(
  deps: Api['deps'],
  request: FastifyRequest,
): Promise<Pick<AlertRefusal, 'tenantId' | 'source' | 'sourceId'>> {
  const { source = '', id } = request.params as Partial<Params>;
  const doc = id === undefined ? null : await findAddress(deps, { source, id }).catch(toAppError);
  const isKnown = doc !== null && !(doc instanceof AppError);
  return { source: source.slice(0, 40), tenantId: isKnown ? doc.tenantId : null, sourceId: isKnown ? doc._id : null };
}

async function receive(
  { deps, metrics }: Api,
  sources: Map<string, AlertSource>,
  record: RecordRefusal,
  request: FastifyRequest,
): Promise<{ code: 200 | 202; body: unknown }> {
  const { source: name, id } = request.params as Params;
  const source = sources.get(name);
  if (!source) throw new AppError('not_found');
  const doc = id === undefined ? null : await findAddress(deps, { source: name, id });
  const raw = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const headers = request.headers as Record<string, string | undefined>;
  const verified = await verifyDelivery(deps, source, doc, { raw, headers, now: deps.clock.now() });
  const tenantId = doc?.tenantId ?? null;
  const origin = originOf(request);
  const sent = { source: name, sourceId: doc?._id ?? name, tenantId, origin, traceparent: currentTraceparent() };
  const results = await acceptLeaks(deps, sent, verified);
  for (const { status } of results) metrics.events.inc({ status: status === 'unmatched' ? 'rejected' : status });
  if (results.some(({ status }) => status === 'duplicate')) {
    await record({ tenantId, source: name, sourceId: doc?._id ?? null, reason: 'replayed', origin });
  }
  const { status, body } = verified.answer(results);
  return { code: status, body };
}
