import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { afterAll, expect, test } from 'vitest';
import { startChild } from '../../local/tools/children.ts';
import { REPLIES, startStubProvider } from '../../testkit/providers/stub-provider.ts';
import { testDatabase, testQueuePrefix } from '../../testkit/servers/for-tests.ts';
import { startTcpProxy } from '../../testkit/servers/tcp-proxy.ts';
import { until } from '../../testkit/until.ts';

const database = testDatabase();

test('each test file has a database and a queue prefix of its own', async () => {
  await database.db.collection('things').insertOne({ a: 1 });
  expect(await database.db.collection('things').countDocuments()).toBe(1);
  expect(testQueuePrefix()).not.toBe(testQueuePrefix());
});

const echo = createServer((socket) => {
  socket.on('error', () => {});
  socket.pipe(socket);
}).listen(0, '127.0.0.1');
await once(echo, 'listening');
const proxy = await startTcpProxy({ port: (echo.address() as { port: number }).port });
afterAll(async () => {
  await proxy.close().catch(() => {});
  echo.close();
});

async function dial() {
  const socket = connect(proxy.port, '127.0.0.1');
  let received = '';
  let error: string | undefined;
  socket.on('data', (chunk) => {
    received += chunk;
  });
  socket.on('error', (e: NodeJS.ErrnoException) => {
    error = e.code;
  });
  await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => {});
  return { socket, received: () => received, error: () => error };
}

test('the proxy forwards, delays, swallows, cuts, and refuses', async () => {
  const first = await dial();
  first.socket.write('one');
  await until(() => first.received() === 'one', { what: 'the echo' });

  proxy.setLatency(60);
  const started = performance.now();
  first.socket.write('two');
  await until(() => first.received() === 'onetwo', { what: 'the late echo' });
  expect(performance.now() - started).toBeGreaterThan(110);
  proxy.setLatency(0);

  proxy.blackHole(true);
  first.socket.write('three');
  await expect(until(() => first.received().includes('three'), { what: 'x', timeoutMs: 100 })).rejects.toThrow();
  proxy.blackHole(false);

  proxy.cut('rst');
  await until(() => first.error() === 'ECONNRESET', { what: 'the reset' });
  await proxy.down();
  expect((await dial()).error()).toBe('ECONNREFUSED');
  await proxy.up();
  const second = await dial();
  second.socket.write('again');
  await until(() => second.received() === 'again', { what: 'the echo after all' });
  second.socket.destroy();
});

test('the stub answers in the order of its script, then well', async () => {
  const stub = await startStubProvider();
  const call = () => fetch(`${stub.url}/token`, { method: 'POST', body: new URLSearchParams({ grant_type: 'x' }) });
  stub.script(REPLIES.throttled, REPLIES.okWithError, REPLIES.reset);
  expect((await call()).headers.get('retry-after')).toBe('2');
  expect(await (await call()).json()).toHaveProperty('error');
  await expect(call()).rejects.toThrow();
  expect(await (await call()).json()).toMatchObject({ access_token: 'stub-access-4' });
  expect(stub.calls.map(({ form }) => form.grant_type)).toEqual(['x', 'x', 'x', 'x']);
  await stub.stop();
});

test('a child does not outlive a parent that was killed', async () => {
  const program = `
    import { startChild } from ${JSON.stringify(new URL('../../local/tools/children.ts', import.meta.url).href)};
    const child = await startChild('sleep', ['60']);
    console.log(child.pid);
    setInterval(() => {}, 1000);`;
  const parent = await startChild(process.execPath, ['--input-type=module', '-e', program], { stdio: 'pipe' });
  const [line] = await once(parent.process.stdout!, 'data');
  const pid = Number(String(line));
  expect(process.kill(pid, 0)).toBe(true);
  await parent.stop('SIGKILL');
  await until(() => !isAlive(pid), { what: 'the end of the child' });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
