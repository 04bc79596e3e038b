import { end, forkAndHear } from './children.ts';
import { perSecond } from './contract.ts';

/** The yardstick of refreshes: so many by a bare simple-oauth2 loop at the stub. Per second. */
export async function bareLoop(url: string, count: number): Promise<number> {
  const { child, message } = await forkAndHear<{ ms: number }>('./bare-refresh.ts', [url, String(count)]);
  await end(child);
  return perSecond(count, message.ms);
}
