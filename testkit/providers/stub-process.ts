/**
 * The stub provider in a process of its own, for load: `[latencyMs] [lifeSeconds]`. It tells its parent the port. Its tokens have
 * the size of real ones.
 */
import { startStubProvider } from './stub-provider.ts';

const [, , latencyMs = '0', lifeSeconds = '3600'] = process.argv;
let count = 0;

const stub = await startStubProvider({ keepsCalls: false });
stub.always(() => {
  count += 1;
  return {
    delayMs: Number(latencyMs),
    body: {
      access_token: `at-${count}-0123456789abcdefghijklmnopqrstuvwxyz`,
      refresh_token: `rt-${count}-0123456789abcdefghijklmnopqrstuvwxyz`,
      token_type: 'Bearer',
      expires_in: Number(lifeSeconds),
    },
  };
});
process.send?.({ port: stub.port });
