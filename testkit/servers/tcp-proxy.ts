import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP proxy on loopback that misbehaves on request. */
export type TcpProxy = {
  readonly port: number;
  /** Connections that are open now. */
  readonly connections: number;
  /** Holds every chunk back, both ways. Milliseconds. */
  setLatency(ms: number): void;
  /** Connections stay open and new ones are taken, but nothing passes any more. */
  blackHole(on: boolean): void;
  /** Ends every open connection: in good order, or with RST. */
  cut(how?: 'fin' | 'rst'): void;
  /** Nobody listens: new connections are refused, open ones are reset. */
  down(): Promise<void>;
  /** Listens again on the same port. */
  up(): Promise<void>;
  close(): Promise<void>;
};

/** Forwards a free port of 127.0.0.1 to `target`. */
export async function startTcpProxy(target: { host?: string; port: number }): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const state = { latencyMs: 0, blackHole: false, port: 0 };
  let server: Server;

  const pump = (from: Socket, to: Socket) => {
    sockets.add(from);
    from.on('data', (chunk) => {
      if (state.blackHole) return;
      if (state.latencyMs === 0) to.write(chunk);
      else setTimeout(() => to.writable && to.write(chunk), state.latencyMs);
    });
    from.on('end', () => setTimeout(() => to.end(), state.latencyMs));
    from.on('error', () => to.destroy());
    from.on('close', () => {
      sockets.delete(from);
      setTimeout(() => to.destroy(), state.latencyMs);
    });
  };
  const cut = (how: 'fin' | 'rst' = 'fin') => {
    for (const socket of sockets) how === 'rst' ? socket.resetAndDestroy() : socket.destroy();
  };
  const up = async () => {
    server = createServer((client) => {
      const upstream = connect({ host: target.host ?? '127.0.0.1', port: target.port });
      pump(client, upstream);
      pump(upstream, client);
    });
    server.listen(state.port, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (typeof address === 'object' && address !== null) state.port = address.port;
  };
  const down = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    cut('rst');
    await closed;
  };
  await up();
  return {
    port: state.port,
    get connections() {
      return Math.ceil(sockets.size / 2);
    },
    setLatency: (ms) => {
      state.latencyMs = ms;
    },
    blackHole: (on) => {
      state.blackHole = on;
    },
    cut,
    down,
    up,
    close: down,
  };
}
