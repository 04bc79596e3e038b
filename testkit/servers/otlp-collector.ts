import { readBody, serveOnLoopback } from '../../local/tools/loopback.ts';

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
  const { url, stop } = await serveOnLoopback(async (request, response) => {
    const body = await readBody(request);
    raw += `${request.method} ${request.url} ${JSON.stringify(request.headers)}\n${body}\n`;
    if (body.startsWith('{')) spans.push(...spansOf(JSON.parse(body) as Export));
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  return { url, spans, received: () => raw, stop };
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
