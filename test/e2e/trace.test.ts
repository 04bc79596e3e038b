import { beforeAll, expect, test } from 'vitest';
import type { AuthorizationServer } from '../../testkit/authorization-server.ts';
import { until } from '../../testkit/signals.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { type OtlpCollector, type Span, startOtlpCollector } from './otlp-collector.ts';
import { acmeOn, connect, type Keyturn, makeKeyturn, portForApi, startServerFor } from './support.ts';

const env = testEnvironment();
let server: AuthorizationServer;
let collector: OtlpCollector;
let keyturn: Keyturn;

beforeAll(async () => {
  const port = await portForApi();
  [server, collector] = await Promise.all([startServerFor(port), startOtlpCollector()]);
  keyturn = await makeKeyturn({
    ...env,
    ...acmeOn(server),
    KEYTURN_PORT: String(port),
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_BSP_SCHEDULE_DELAY: '200',
  });
  await Promise.all([keyturn.startApi(), keyturn.startWorkers()]);
  return () => Promise.all([server.stop(), collector.stop()]);
});

const isProviderCall = ({ service, kind, attributes }: Span) =>
  service === 'keyturn-workers' && kind === 3 && attributes['server.port'] === String(server.port);
const isMongo = (span: Span) => /mongodb/.test(span.attributes['db.system'] ?? span.attributes['db.system.name'] ?? '');

test('one trace leads from the callback through the job to MongoDB and the provider', { timeout: 60_000 }, async () => {
  await connect(keyturn, server, { subject: 'ada' });
  const spans = await until(
    () => {
      const callback = collector.spans.find(({ attributes }) => attributes['http.route'] === '/v1/oauth/callback');
      const trace = collector.spans.filter(({ traceId }) => traceId === callback?.traceId);
      const isWhole =
        trace.some(isProviderCall) && trace.some((span) => isMongo(span) && span.service === 'keyturn-workers');
      return isWhole ? trace : null;
    },
    { what: 'the whole trace', timeoutMs: 20_000 },
  ).catch((cause) => {
    const seen = collector.spans.map(
      ({ service, name, traceId, kind }) => `${traceId.slice(0, 6)} ${service} ${kind} ${name}`,
    );
    throw new Error(`spans:\n${seen.join('\n')}`, { cause });
  });
  const services = new Set(spans.map(({ service }) => service));
  expect(services).toEqual(new Set(['keyturn-api', 'keyturn-workers']));
  expect(spans.some((span) => isMongo(span) && span.service === 'keyturn-api')).toBe(true);
  // No gap: every span but the first has its parent in the same trace.
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const orphans = spans.filter(({ parentSpanId }) => parentSpanId && !ids.has(parentSpanId));
  expect(orphans.map(({ name }) => name)).toEqual([]);
});

test('promise 1: a span says where and how long, never what: no statement, no query, no state', () => {
  const text = collector.received();
  expect(text).toContain('/v1/oauth/callback');
  expect(text).not.toMatch(/state=|code=|code_verifier|"filter"|Bearer kt_live/);
});
