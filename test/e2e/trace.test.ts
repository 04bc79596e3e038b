import { beforeAll, expect, test } from 'vitest';
import { freePort } from '../../local/tools/ports.ts';
import type { AuthorizationServer } from '../../testkit/servers/authorization-server.ts';
import { type OtlpCollector, type Span, startOtlpCollector } from '../../testkit/servers/otlp-collector.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';
import { acmeOn, connect, type Keyturn, makeKeyturn, startServerFor } from './support.ts';

const env = testEnvironment();
let server: AuthorizationServer;
let collector: OtlpCollector;
let keyturn: Keyturn;

beforeAll(async () => {
  const port = await freePort();
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

/** What keeps the trace of the callback from being whole: a span comes long before the one that it is part of has ended. */
function missingFrom(trace: Span[]): string[] {
  const isIn = (service: string) => (span: Span) => span.service === service;
  const parts: Record<string, boolean> = {
    'a span of MongoDB in the API': trace.filter(isIn('keyturn-api')).some(isMongo),
    'a span of MongoDB in a worker': trace.filter(isIn('keyturn-workers')).some(isMongo),
    'the call of the provider': trace.some(isProviderCall),
  };
  const ids = new Set(trace.map(({ spanId }) => spanId));
  const orphans = trace.filter(({ parentSpanId }) => parentSpanId && !ids.has(parentSpanId));
  return [
    ...Object.keys(parts).filter((part) => !parts[part]),
    ...orphans.map(({ service, name }) => `the parent of ${service} ${name}`),
  ];
}

function callbackTrace(): Span[] {
  const callback = collector.spans.find(({ attributes }) => attributes['http.route'] === '/v1/oauth/callback');
  return collector.spans.filter(({ traceId }) => traceId === callback?.traceId);
}

test('one trace leads from the callback through the job to MongoDB and the provider, without a gap', async () => {
  await connect(keyturn, server, { subject: 'ada' });
  const isWhole = () => callbackTrace().length > 0 && missingFrom(callbackTrace()).length === 0;
  // That it never becomes whole is told by what is missing, not by the wait.
  await until(isWhole, { what: 'the whole trace' }).catch(() => {});
  const trace = callbackTrace();
  expect(missingFrom(trace)).toEqual([]);
  expect(new Set(trace.map(({ service }) => service))).toEqual(new Set(['keyturn-api', 'keyturn-workers']));
});

test('promise 1: a span says where and how long, never what: no statement, no query, no state', () => {
  const text = collector.received();
  expect(text).toContain('/v1/oauth/callback');
  expect(text).not.toMatch(/state=|code=|code_verifier|"filter"|Bearer kt_live/);
});
