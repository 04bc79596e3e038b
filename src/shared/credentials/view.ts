import { z } from 'zod';
import { problemSchema } from '../platform/problem-schema.ts';
import { isoOrNull } from '../platform/time.ts';
import { CREDENTIAL_STATES } from '../store/lifecycle/credentials.ts';
import type { CredentialMetadata } from '../store/lifecycle/credentials-metadata.ts';

const time = z.iso.datetime();
const maybe = time.nullable();

/** A credential as it may be shown: without its secret, and without anything that would help to find one. */
export const credentialSchema = z
  .object({
    id: z.string(),
    service: z.string(),
    subject: z.string(),
    kind: z.enum(['oauth2', 'client_credentials', 'api_key', 'client_secret', 'password']),
    state: z.enum(CREDENTIAL_STATES),
    generation: z.number().int().meta({ description: 'Number of the present secret; every new secret adds one' }),
    issuer: z.string().nullable(),
    resource: z.string().nullable(),
    scopes: z.array(z.string()),
    tokenType: z.string(),
    expiresAt: maybe,
    refreshExpiresAt: maybe,
    hasRefreshToken: z.boolean(),
    metadata: z.record(z.string(), z.string()),
    due: z.object({
      refresh: time.optional(),
      rotate: time.optional(),
      expire: time.optional(),
      validate: time.optional(),
    }),
    failures: z.number().int().meta({ description: 'Failures in a row' }),
    lastError: z.object({ code: z.string(), at: time }).nullable(),
    blocked: z.object({ reason: z.string(), at: time }).nullable(),
    rotation: z.object({ id: z.string(), step: z.string(), startedAt: time }).nullable(),
    createdAt: time,
    updatedAt: time,
    secretChangedAt: maybe,
    lastReleasedAt: maybe,
  })
  .meta({ id: 'Credential', description: 'Metadata of a credential; never its secret' });

export type CredentialView = z.infer<typeof credentialSchema>;

/** A credential as it is shown. */
export function viewCredential(doc: CredentialMetadata): CredentialView {
  const { lastError, blocked, rotation } = doc;
  return {
    id: doc._id,
    service: doc.service,
    subject: doc.subject,
    kind: doc.kind,
    state: doc.state,
    generation: doc.generation,
    issuer: doc.issuer,
    resource: doc.resource,
    scopes: doc.scopes,
    tokenType: doc.tokenType,
    expiresAt: isoOrNull(doc.expiresAt),
    refreshExpiresAt: isoOrNull(doc.refreshExpiresAt),
    hasRefreshToken: doc.hasRefreshToken,
    metadata: doc.metadata,
    due: Object.fromEntries(Object.entries(doc.due).map(([what, at]) => [what, at.toISOString()])),
    failures: doc.failures,
    lastError: lastError && { code: lastError.code, at: lastError.at.toISOString() },
    blocked: blocked && { reason: blocked.reason, at: blocked.at.toISOString() },
    rotation: rotation && { id: rotation.id, step: rotation.step, startedAt: rotation.startedAt.toISOString() },
    createdAt: doc.createdAt.toISOString(),
    updatedAt: doc.updatedAt.toISOString(),
    secretChangedAt: isoOrNull(doc.secretChangedAt),
    lastReleasedAt: isoOrNull(doc.lastReleasedAt),
  };
}

const providerVerdict = z.object({
  verdict: z.enum(['active', 'inactive', 'unknown', 'unavailable']),
  problem: problemSchema.optional().meta({ description: 'Why the provider is `unavailable`' }),
});

/** The reply of a validation: three answers, none of which stands for another. */
export const validationSchema = z
  .object({
    credentialId: z.string(),
    generation: z.number().int(),
    state: z.enum(CREDENTIAL_STATES),
    checkedAt: time,
    format: z.object({ verdict: z.enum(['valid', 'invalid', 'unknown']) }).meta({
      description: "Whether the secret has the form of this service's secrets; `unknown` where the form is not known",
    }),
    expiry: z
      .object({ verdict: z.enum(['valid', 'expired', 'unknown']), expiresAt: maybe, refreshExpiresAt: maybe })
      .meta({
        description: '`unknown`: the provider named no expiry',
      }),
    provider: z.object({ accessToken: providerVerdict, refreshToken: providerVerdict.nullable() }).meta({
      description: "The provider's own word, by introspection or a probing call; null without a refresh token",
    }),
  })
  .meta({ id: 'Validation' });

export type Validation = z.infer<typeof validationSchema>;

/** The reply of a token release. */
export const releaseSchema = z
  .object({
    accessToken: z.string(),
    tokenType: z.string(),
    expiresAt: maybe,
    scopes: z.array(z.string()),
    generation: z.number().int(),
    service: z.string(),
    subject: z.string(),
    metadata: z
      .record(z.string(), z.string())
      .meta({ description: 'What goes with this very secret, e.g. the client id; it may change with a rotation' }),
  })
  .meta({ id: 'TokenRelease' });

export type TokenRelease = z.infer<typeof releaseSchema>;
