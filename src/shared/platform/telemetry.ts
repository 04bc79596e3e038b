/**
 * One trace from the HTTP request through the job to MongoDB and the provider. Off, and not even loaded, without an OTLP
 * endpoint. Start it before `fastify`, `mongodb` and the provider clients are imported: they are patched as they load.
 */
import type { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';

export type Telemetry = {
  /** Sends what is still here. */
  close(): Promise<void>;
};

export type TelemetryOptions = {
  /** Base URL of an OTLP/HTTP receiver, e.g. `http://localhost:4318`. Undefined: no telemetry. */
  endpoint: string | undefined;
  serviceName: string;
};

/** Attributes that may leave the process, by name or beginning. Any other may quote a URL, a statement or a header. */
const ALLOWED = [
  'http.request.method',
  'http.response.status_code',
  'http.route',
  'http.method',
  'http.status_code',
  'error.type',
  'exception.type',
  'url.scheme',
  'server.',
  'net.peer.',
  'network.protocol.',
  'db.system',
  'db.name',
  'db.namespace',
  'db.operation',
  'db.collection',
  'db.mongodb.collection',
  'messaging.',
  'bullmq.',
  'fastify.type',
];

/** Starts tracing. Spans carry names, routes, codes and times; no query, statement, header, body or error message. */
export async function startTelemetry({ endpoint, serviceName }: TelemetryOptions): Promise<Telemetry> {
  if (!endpoint) return { close: async () => {} };
  const [sdk, otlp, http, mongodb, fastify] = await Promise.all([
    import('@opentelemetry/sdk-node'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/instrumentation-http'),
    import('@opentelemetry/instrumentation-mongodb'),
    import('@fastify/otel'),
  ]);
  const node = new sdk.NodeSDK({
    serviceName,
    autoDetectResources: false,
    metricReaders: [],
    logRecordProcessors: [],
    traceExporter: scrubbing(new otlp.OTLPTraceExporter({ url: `${endpoint.replace(/\/$/, '')}/v1/traces` })),
    instrumentations: [
      new http.HttpInstrumentation(),
      new mongodb.MongoDBInstrumentation({ dbStatementSerializer: () => '' }),
      new fastify.FastifyOtelInstrumentation({ registerOnInitialization: true, instrumentHooks: false }),
    ],
  });
  node.start();
  return { close: () => node.shutdown() };
}

type Exporter = Pick<OTLPTraceExporter, 'export' | 'forceFlush' | 'shutdown'>;
type Span = Parameters<Exporter['export']>[0][number];
type Attributes = Span['attributes'];

/** An exporter that takes out of each span every attribute that is not on the list. */
function scrubbing(inner: Exporter): Exporter {
  return {
    export: (spans, done) => {
      spans.forEach(scrub);
      inner.export(spans, done);
    },
    forceFlush: () => inner.forceFlush(),
    shutdown: () => inner.shutdown(),
  };
}

function scrub(span: Span): void {
  keepAllowed(span.attributes);
  for (const event of span.events) keepAllowed(event.attributes ?? {});
  for (const link of span.links) keepAllowed(link.attributes ?? {});
  delete span.status.message;
}

function keepAllowed(attributes: Attributes): void {
  for (const name of Object.keys(attributes)) {
    if (!ALLOWED.some((allowed) => name.startsWith(allowed))) delete attributes[name];
  }
}
