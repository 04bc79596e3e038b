import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { acceptLeaks } from '../../../shared/incidents/alerts/intake.ts';
import { type AlertRefusal, makeAlertRefusalRecord } from '../../../shared/incidents/alerts/refusals.ts';
import {
  type AlertSource,
  loadAlertSources,
  type VerifiedDelivery,
} from '../../../shared/incidents/alerts/sources/contract.ts';
import { AppError, toAppError } from '../../../shared/platform/errors.ts';
import { Secret } from '../../../shared/platform/secret.ts';
import { currentTraceparent } from '../../../shared/platform/traceparent.ts';
import type { AlertSourceDoc } from '../../../shared/store/compromise/alert-sources.ts';
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
    // The signature is over the bytes as they came, whatever type they claim to be.
    child.removeAllContentTypeParsers();
    child.addContentTypeParser('*', { parseAs: 'buffer' }, (_, raw, done) => done(null, raw));
    child.setErrorHandler(async (thrown, request, reply) => {
      const error = toHttpError(thrown);
      if (isRefusal(error))
        await record({ ...(await addressee(api, request)), reason: reasonOf(error), origin: originOf(request) });
      return sendProblem(api.deps.log, error, request, reply);
    });
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

async function receive(
  api: Api,
  sources: Map<string, AlertSource>,
  record: (refusal: AlertRefusal) => Promise<void>,
  request: FastifyRequest,
): Promise<{ code: 200 | 202; body: unknown }> {
  const { source: name, id } = request.params as Params;
  const source = sources.get(name);
  if (!source) throw new AppError('not_found');
  const doc = id === undefined ? null : await findSource(api, name, id);
  const verified = await verify(api, source, doc, request);
  const sent = {
    source: name,
    sourceId: doc?._id ?? name,
    tenantId: doc?.tenantId ?? null,
    origin: originOf(request),
    traceparent: currentTraceparent(),
  };
  const results = await acceptLeaks(api.deps, sent, verified);
  for (const { status } of results) api.metrics.events.inc({ status: status === 'unmatched' ? 'rejected' : status });
  if (results.some(({ status }) => status === 'duplicate')) {
    const { tenantId, origin } = sent;
    await record({ tenantId, source: name, sourceId: doc?._id ?? null, reason: 'replayed', origin });
  }
  const { status, body } = verified.answer(results);
  return { code: status, body };
}

async function verify(
  { deps }: Api,
  source: AlertSource,
  doc: AlertSourceDoc | null,
  request: FastifyRequest,
): Promise<VerifiedDelivery> {
  const raw = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const headers = request.headers as Record<string, string | undefined>;
  const delivery = { raw, headers, now: deps.clock.now() };
  if (doc === null) {
    if (!source.verifyShared) throw new AppError('not_found');
    return source.verifyShared(delivery);
  }
  const context = { tenantId: doc.tenantId, objectId: doc._id, generation: 1 };
  const secret = new Secret(await deps.sealer.open(doc.secret.jwe!, context));
  return source.verify(delivery, [secret]);
}

async function findSource({ deps }: Api, source: string, id: string): Promise<AlertSourceDoc> {
  // The address is what names the tenant, so this one read cannot filter on it.
  const doc = await deps.database.collection('alert_sources').findOne({ _id: id });
  if (!doc || doc.source !== source || doc.revokedAt) throw new AppError('not_found');
  return doc;
}

function isRefusal(error: AppError): boolean {
  return error.status < 500 && error.code !== 'overloaded';
}

function reasonOf(error: AppError): string {
  if (error.code === 'payload_too_large') return 'too_large';
  return error.internal ?? error.code;
}

/** Whom a refused delivery was meant for. */
async function addressee(
  api: Api,
  request: FastifyRequest,
): Promise<Pick<AlertRefusal, 'tenantId' | 'source' | 'sourceId'>> {
  const { source = '', id } = request.params as Partial<Params>;
  const doc = id === undefined ? null : await findSource(api, source, id).catch(toAppError);
  const isKnown = doc !== null && !(doc instanceof AppError);
  return { source: source.slice(0, 40), tenantId: isKnown ? doc.tenantId : null, sourceId: isKnown ? doc._id : null };
}
