import { once } from 'node:events';
import { createServer } from 'node:http';

/** A span as it arrived (OTLP/HTTP JSON). */
export type Span = {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  /** `service.name` of the process that made it. */
  service: string;
  attributes: Record<string, string>;
};

/** A receiver of OTLP/HTTP on loopback that keeps everything. */
export type OtlpCollector = {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string;
  readonly spans: Span[];
  /** Every request as it came: path, headers, body. */
  received(): string;
  stop(): Promise<void>;
};

type Attribute = { key: string; value: Record<string, unknown> };
type Export = {
  resourceSpans?: {
    resource?: { attributes?: Attribute[] };
    scopeSpans?: { spans?: (Omit<Span, 'attributes' | 'service'> & { attributes?: Attribute[] })[] }[];
  }[];
};

export async function startOtlpCollector(): Promise<OtlpCollector> {
  const spans: Span[] = [];
  let raw = '';
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    raw += `${request.method} ${request.url} ${JSON.stringify(request.headers)}\n${body}\n`;
    if (body.startsWith('{')) spans.push(...spansOf(JSON.parse(body) as Export));
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    spans,
    received: () => raw,
    stop: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function spansOf({ resourceSpans = [] }: Export): Span[] {
  return resourceSpans.flatMap(({ resource, scopeSpans = [] }) => {
    const service = toRecord(resource?.attributes)['service.name'] ?? '';
    return scopeSpans
      .flatMap(({ spans = [] }) => spans)
      .map((span) => ({ ...span, service, attributes: toRecord(span.attributes) }));
  });
}

function toRecord(attributes: Attribute[] = []): Record<string, string> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, String(Object.values(value)[0])]));
}
