import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { describe, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../../local/tools/ports.ts';
import { startProcess } from '../../testkit/processes/keyturn.ts';
import { startOtlpCollector } from '../../testkit/servers/otlp-collector.ts';
import { testEnvironment } from '../../testkit/system.ts';
import { ACME, importEvent } from './support.ts';

async function startApi(env: Record<string, string>) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const api = await startProcess('api', { ...env, KEYTURN_PORT: String(port), KEYTURN_LOG_LEVEL: 'debug' });
  await api.waitForLog('listening');
  const key = /^KEYTURN_ADMIN_KEY=(kt_live_\S+)$/m.exec(api.output())?.[1] ?? '';
  return { ...api, url, key };
}

describe('the API process', () => {
  test('names every problem of its configuration at once and exits 1', async () => {
    const env = { KEYTURN_PORT: 'x', KEYTURN_UNKNOWN: '1', MONGODB_URI: 'mongodb://127.0.0.1:1' };
    const api = await startProcess('api', env);
    expect(await api.exited).toBe(1);
    for (const name of ['KEYTURN_PORT', 'KEYTURN_UNKNOWN', 'REDIS_URL']) expect(api.output()).toContain(name);
  });

  test('says which address it cannot have', async () => {
    const env = { ...testEnvironment(), ...ACME };
    const first = await startApi(env);
    const second = await startProcess('api', { ...env, KEYTURN_PORT: new URL(first.url).port });
    expect(await second.exited).toBe(1);
    expect(second.output()).toContain('KEYTURN_PORT: cannot listen on 127.0.0.1');
    expect(await first.sigterm()).toBe(0);
  });

  test('shows the first admin key once, outside the log, and never again', async () => {
    const env = { ...testEnvironment(), ...ACME };
    const first = await startApi(env);
    expect(first.key).toMatch(/^kt_live_[\w-]{43}$/);
    expect(JSON.stringify(first.logs.filter(({ level }) => level))).not.toContain(first.key);
    const authorized = { headers: { authorization: `Bearer ${first.key}` } };
    expect((await fetch(`${first.url}/v1/credentials`, authorized)).status).toBe(200);
    expect(await first.sigterm()).toBe(0);
    const second = await startApi(env);
    expect(second.key).toBe('');
    expect((await fetch(`${second.url}/v1/credentials`, authorized)).status).toBe(200);
    expect(await second.sigterm()).toBe(0);
  });

  test('finishes the request in hand on SIGTERM, then ends with 0', async () => {
    const api = await startApi({ ...testEnvironment(), ...ACME });
    const body = JSON.stringify(importEvent());
    const headers = { authorization: `Bearer ${api.key}`, 'content-type': 'application/cloudevents+json' };
    const call = request(`${api.url}/v1/events`, { method: 'POST', headers });
    const answer = once(call, 'response');
    call.write(body.slice(0, 20));
    // Its head has arrived when a later request on the same server has its answer.
    await (await fetch(`${api.url}/healthz`)).text();
    const exit = api.sigterm();
    await api.waitForLog('stopping');
    call.end(body.slice(20));
    const [response] = (await answer) as [IncomingMessage];
    response.resume();
    expect(response.statusCode).toBe(202);
    expect(await exit).toBe(0);
    await expect(fetch(`${api.url}/healthz`)).rejects.toThrow();
  });

  test('promise 1: sends one trace from the request to MongoDB, and no secret in it', async () => {
    const collector = await startOtlpCollector();
    onTestFinished(collector.stop);
    const env = { ...testEnvironment(), ...ACME, OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
    const api = await startApi(env);
    const headers = { authorization: `Bearer ${api.key}`, 'content-type': 'application/cloudevents+json' };
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    const traceparent = `00-${traceId}-b7ad6b7169203331-01`;
    const body = JSON.stringify(importEvent());
    await fetch(`${api.url}/v1/events`, { method: 'POST', headers: { ...headers, traceparent }, body });
    await fetch(`${api.url}/v1/oauth/callback?code=CANARY-code&state=CANARY-state`);
    expect(await api.sigterm()).toBe(0);
    const trace = collector.spans.filter((span) => span.traceId === traceId);
    const names = trace.map(({ name }) => name).join('\n');
    expect(names).toMatch(/POST.*\/v1\/events/);
    expect(names).toMatch(/insert/);
    expect(names).toMatch(/exchange/);
    expect(trace.filter(({ parentSpanId }) => !parentSpanId)).toEqual([]);
    const log = api.output().replace(`KEYTURN_ADMIN_KEY=${api.key}`, '');
    for (const hidden of ['CANARY', api.key]) expect(collector.received() + log).not.toContain(hidden);
  });
});
