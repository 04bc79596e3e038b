import { bodyOf, check, release, settled, shown } from '../stage/check.ts';
import type { Story } from '../stage/contract.ts';
import type { World } from '../stage/world.ts';

/** On demand here; by itself before every expiry otherwise. */
export async function refresh(world: World, { credentialId }: Story): Promise<string[]> {
  const before = bodyOf(await release(world, credentialId), 200);
  const { eventId } = bodyOf(await world.call('POST', `/v1/credentials/${credentialId}/refresh`, {}), 202);
  await settled(world, eventId);
  const after = bodyOf(await release(world, credentialId), 200);
  check(after.generation === before.generation + 1, 'one more generation');
  check(world.sandbox.counts.refreshes === 1, 'one refresh at the provider');
  return [
    `${shown(before.accessToken)} → ${shown(after.accessToken)}, generation ${after.generation}; its refresh token was used once`,
  ];
}
