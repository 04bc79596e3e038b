/** A token endpoint that does nothing else, in a process of its own: what both sides of the refresh bench call. */
import { createServer } from 'node:http';

/** How long an answer takes, and how long a token lives. */
const [, , latencyMs = '0', lifeSeconds = '3600'] = process.argv;
let count = 0;

const server = createServer((request, response) => {
  request.on('data', () => {});
  request.on('end', () => {
    count += 1;
    const body = JSON.stringify({
      access_token: `at-${count}-0123456789abcdefghijklmnopqrstuvwxyz`,
      refresh_token: `rt-${count}-0123456789abcdefghijklmnopqrstuvwxyz`,
      token_type: 'Bearer',
      expires_in: Number(lifeSeconds),
    });
    const answer = () => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
      response.end(body);
    };
    if (latencyMs === '0') answer();
    else setTimeout(answer, Number(latencyMs));
  });
});

server.keepAliveTimeout = 30_000;
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.send?.({ port: typeof address === 'object' && address ? address.port : 0 });
});
