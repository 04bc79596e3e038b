import { Readable } from 'node:stream';
import { z } from 'zod';
import { requirePermission } from '../../../shared/access/permissions.ts';
import { latestCheckpoint, publishCheckpoint } from '../../../shared/audit/checkpoints.ts';
import { beginExport, exportLines, verifierKeysOf } from '../../../shared/audit/export.ts';
import { publicKeys, signingKey } from '../../../shared/keys/signing-keys.ts';
import { AppError } from '../../../shared/platform/errors.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { refusals } from '../../http/problem.ts';

const checkpointSchema = z
  .object({
    seq: z.number().int(),
    hash: z.string(),
    at: z.iso.datetime(),
    note: z.string().meta({ description: 'C2SP signed note: keep it outside of this system' }),
    verifierKeys: z.array(z.string()).meta({ description: 'Pin them where you keep the notes' }),
  })
  .meta({ id: 'Checkpoint' });

/** Evidence that the log is whole: its signed head, a verifiable export, the public keys. */
export function auditEvidenceRoutes(app: App, { deps, publicUrl }: Api): void {
  checkpointRoute(app, deps);
  exportRoute(app, deps);
  keysRoute(app, deps);
  sharedSignalsRoute(app, publicUrl);
}

function checkpointRoute(app: App, deps: Api['deps']): void {
  app.get(
    '/v1/audit/checkpoint',
    {
      schema: {
        tags: ['audit'],
        summary: 'The newest signed head of the log',
        response: { 200: checkpointSchema, ...refusals },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      requirePermission(caller, 'audit', 'read');
      const { tenantId } = caller;
      const checkpoint = (await latestCheckpoint(deps, tenantId)) ?? (await publishCheckpoint(deps, tenantId));
      if (!checkpoint) throw new AppError('not_found', { detail: 'The log has no entries yet.' });
      const { seq, hash, at, note } = checkpoint;
      return { seq, hash, at: at.toISOString(), note, verifierKeys: await verifierKeysOf(deps, tenantId) };
    },
  );
}

function exportRoute(app: App, deps: Api['deps']): void {
  app.get(
    '/v1/audit/export',
    {
      schema: {
        tags: ['audit'],
        summary: 'The whole log as NDJSON that can be verified without this system',
        description:
          'A header line with the public keys, a line for each entry, and a signed checkpoint as the last line: without ' +
          'that one the export was cut off. Check it with `keyturn audit verify --export`.',
        response: { ...refusals },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requirePermission(caller, 'audit', 'export');
      const checkpoint = await beginExport(deps, caller.tenantId, actorOf(request));
      reply.type('application/x-ndjson');
      reply.header('content-disposition', `attachment; filename="audit-${checkpoint.seq}.ndjson"`);
      return reply.send(Readable.from(exportLines(deps, checkpoint)) as never);
    },
  );
}

function keysRoute(app: App, deps: Api['deps']): void {
  app.get(
    '/.well-known/jwks.json',
    {
      config: { open: true },
      schema: {
        tags: ['shared signals'],
        summary:
          'Public keys of security event tokens and checkpoints, and the one to encrypt to for the intake queue (RFC 7517)',
        response: { 200: z.object({ keys: z.array(z.record(z.string(), z.string())) }) },
      },
    },
    async (_, reply) => {
      reply.header('cache-control', 'public, max-age=60');
      // Whoever configures a receiver or a producer asks before there was anything to sign or to open.
      for (const use of ['set', 'checkpoint', 'intake'] as const) await signingKey(deps, use);
      return publicKeys(deps);
    },
  );
}

function sharedSignalsRoute(app: App, publicUrl: () => string): void {
  app.get(
    '/.well-known/ssf-configuration',
    {
      config: { open: true },
      schema: {
        tags: ['shared signals'],
        summary: 'Transmitter configuration (OpenID Shared Signals Framework 1.0)',
        response: { 200: z.record(z.string(), z.unknown()) },
      },
    },
    async () => ({
      spec_version: '1_0',
      issuer: publicUrl(),
      jwks_uri: `${publicUrl()}/.well-known/jwks.json`,
      delivery_methods_supported: ['urn:ietf:rfc:8935'],
      authorization_schemes: [{ spec_urn: 'urn:ietf:rfc:6750' }],
      default_subjects: 'ALL',
    }),
  );
}
