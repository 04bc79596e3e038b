/** The yardstick: Fastify and `findOne` by id, nothing checked, opened or recorded. */
import fastify from 'fastify';
import { MongoClient } from 'mongodb';

const [, , uri = '', database = ''] = process.argv;
const client = await new MongoClient(uri).connect();
const credentials = client.db(database).collection<{ _id: string; [field: string]: unknown }>('credentials');
const app = fastify();

app.get<{ Params: { id: string } }>('/v1/credentials/:id/token', async ({ params }) => {
  const doc = await credentials.findOne({ _id: params.id });
  return { accessToken: doc?.secret, expiresAt: doc?.expiresAt, scopes: doc?.scopes, subject: doc?.subject };
});

await app.listen({ port: 0, host: '127.0.0.1' });
const address = app.server.address();
process.send?.({ port: typeof address === 'object' && address ? address.port : 0 });
process.once('SIGTERM', () => void app.close().then(() => client.close()));
