import { createHash } from 'node:crypto';
import type { SealContext } from './contract.ts';

/** A value's own name among those of its generation: 32 hex digits of SHA-256. */
export function refOf(jwe: string): string {
  return createHash('sha256').update(jwe).digest('hex').slice(0, 32);
}

/** An object's name in a secret store outside MongoDB: 64 hex digits of SHA-256 over tenant and object. */
export function objectOf({ tenantId, objectId }: Pick<SealContext, 'tenantId' | 'objectId'>): string {
  return createHash('sha256')
    .update(JSON.stringify([tenantId, objectId]))
    .digest('hex');
}

/**
 * Where a secret store outside MongoDB keeps a value: its object, and `<generation>.<ref>`. Ids from outside never become
 * part of a path. Throws `TypeError` for a generation that is no whole number or a ref of another form.
 */
export function addressOf(context: SealContext, ref: string | undefined): { object: string; value: string } {
  const { generation } = context;
  if (!Number.isSafeInteger(generation) || generation < 0) throw new TypeError('the generation is not a whole number');
  if (ref === undefined || !/^[0-9a-f]{32}$/.test(ref)) throw new TypeError('the value has no valid ref');
  return { object: objectOf(context), value: `${generation}.${ref}` };
}
