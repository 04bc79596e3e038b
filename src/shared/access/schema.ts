import { z } from 'zod';
import { isoOrNull } from '../platform/time.ts';
import type { PrincipalDoc } from '../store/access/principals.ts';
import { PERMISSION } from './permissions.ts';

const name = z.string().min(1).max(100);
const permissions = z
  .array(z.string().regex(PERMISSION, 'must be service:action, each part may be *'))
  .min(1)
  .max(100)
  .meta({ examples: [['figma:release', '*:read']] });

/** The body of `POST /v1/principals`. */
export const newPrincipalSchema = z
  .strictObject({
    name,
    permissions,
    expiresAt: z.iso.datetime({ offset: true }).optional(),
    requireSignature: z.boolean().default(false).meta({
      description:
        'Whether every request must also be signed (Standard Webhooks scheme); jobs of the intake queue must be',
    }),
  })
  .meta({ id: 'NewPrincipal' });

/** The body of `PATCH /v1/principals/{id}`. */
export const principalChangesSchema = z
  .strictObject({
    requireSignature: z
      .boolean()
      .meta({ description: '`true` makes a new signing secret, also in place of an old one' }),
  })
  .meta({ id: 'PrincipalChanges' });

/** An API key without the key. */
export const principalSchema = z
  .object({
    id: z.string(),
    name,
    permissions: z.array(z.string()),
    requiresSignature: z.boolean(),
    createdAt: z.iso.datetime(),
    expiresAt: z.iso.datetime().nullable(),
    revokedAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'Principal' });

const signingSecret = z
  .string()
  .optional()
  .meta({ description: '`whsec_…`: shown once, where requests must be signed' });

/** The reply that may hold a new signing secret. */
export const changedPrincipalSchema = principalSchema.extend({ signingSecret }).meta({ id: 'ChangedPrincipal' });

/** The only reply that ever holds the key. */
export const createdPrincipalSchema = changedPrincipalSchema
  .extend({ key: z.string().meta({ description: 'Shown once; only its hash is kept' }) })
  .meta({ id: 'CreatedPrincipal' });

/** A principal as it is shown. */
export function viewPrincipal(doc: PrincipalDoc): z.infer<typeof principalSchema> {
  return {
    id: doc._id,
    name: doc.name,
    permissions: doc.permissions,
    requiresSignature: doc.signing !== null,
    createdAt: doc.createdAt.toISOString(),
    expiresAt: isoOrNull(doc.expiresAt),
    revokedAt: isoOrNull(doc.revokedAt),
  };
}

/** The body of `POST /v1/tenants`. */
export const newTenantSchema = z.strictObject({ name }).meta({ id: 'NewTenant' });

/** A new tenant, with the key of its admin. */
export const createdTenantSchema = z
  .object({ id: z.string(), name, createdAt: z.iso.datetime(), admin: createdPrincipalSchema })
  .meta({ id: 'CreatedTenant' });
