import { createHash } from 'node:crypto';
import type { SealContext } from './contract.ts';

/**
 * Where a secret store outside MongoDB keeps an object's values: 64 hex digits of SHA-256 over tenant and object. Ids
 * from outside never become part of a path. The generation must be a whole number.
 */
export function addressOf({ tenantId, objectId, generation }: SealContext): { object: string; generation: string } {
  if (!Number.isSafeInteger(generation) || generation < 0) throw new TypeError('the generation is not a whole number');
  return {
    object: createHash('sha256')
      .update(JSON.stringify([tenantId, objectId]))
      .digest('hex'),
    generation: String(generation),
  };
}
