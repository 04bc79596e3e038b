import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { testEnvironment } from '../../testkit/system.ts';
import { until } from '../../testkit/until.ts';
import { ACME, expectProblem, importEvent, startApi } from './support.ts';

const LIMIT = 3;

const api = await startApi({ ...testEnvironment(), ...ACME, KEYTURN_BACKLOG_LIMIT: String(LIMIT) });

const STRUCTURED = { 'content-type': 'application/cloudevents+json' };
const send = (key?: string) =>
  api.call('POST', '/v1/events', { headers: STRUCTURED, body: JSON.stringify(importEvent()), ...(key && { key }) });
const events = () => api.deps.database.collection('events');

describe('backpressure', () => {
  test('a tenant with too many unsettled events gets 429 and when to come back; others do not', async () => {
    const other = await api.otherTenant();
    for (let sent = 0; sent < LIMIT; sent += 1) expect((await send()).status).toBe(202);
    const refused = await send();
    expectProblem(refused, 429, 'overloaded');
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect((await send(other.key)).status).toBe(202);
  });

  test('it is let in again when some are settled', async () => {
    await events().updateMany({}, { $set: { status: 'succeeded' }, $unset: { dueAt: '' } });
    await until(async () => (await send()).status === 202, { what: 'intake to open' });
    await events().updateMany({}, { $set: { status: 'succeeded' }, $unset: { dueAt: '' } });
  });

  test('bodies that would fill the memory are refused before they are read', async () => {
    await api.app.listen({ port: 0, host: '127.0.0.1' });
    const { port } = api.app.server.address() as { port: number };
    const head = (bytes: number) =>
      `POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${api.adminKey}\r\n` +
      `content-type: application/cloudevents-batch+json\r\ncontent-length: ${bytes}\r\n\r\n`;
    const sockets = Array.from({ length: 5 }, () => {
      const socket = connect(port, '127.0.0.1');
      // The announced body never comes: its place stays taken.
      socket.write(head(8 * 1024 * 1024 - 1));
      return socket;
    });
    const answers = sockets.map((socket) => {
      const got = { text: '' };
      socket.on('data', (chunk) => {
        got.text += chunk;
      });
      return got;
    });
    await until(() => answers.filter(({ text }) => text.includes('429')).length === 1, { what: 'one refusal' });
    for (const socket of sockets) socket.destroy();
    await until(async () => (await send()).status === 202, { what: 'the places to be free' });
  });
});
