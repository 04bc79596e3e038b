/** The yardstick: what a cron script would do. `AccessToken.refresh()` of simple-oauth2 in a loop, 50 at once, nothing stored. */
import { AuthorizationCode } from 'simple-oauth2';

const [, , url = '', total = '0'] = process.argv;
const client = new AuthorizationCode({
  client: { id: 'bench', secret: 'bench' },
  auth: { tokenHost: url, tokenPath: '/token' },
});

const CONCURRENCY = 50;
let left = Number(total);

async function takeTurns(): Promise<void> {
  while (left > 0) {
    left -= 1;
    await client.createToken({ access_token: 'a', refresh_token: 'r', expires_in: 1 }).refresh();
  }
}

const before = performance.now();
await Promise.all(Array.from({ length: CONCURRENCY }, takeTurns));
process.send?.({ ms: performance.now() - before });
