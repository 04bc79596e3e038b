import { Readable } from 'node:stream';
import { checkpointSchema, viewCheckpoint } from '../../../shared/audit/checkpoint-view.ts';
import { publishCheckpoint } from '../../../shared/audit/checkpoints.ts';
import { beginExport, exportLines, verifierKeysOf } from '../../../shared/audit/export.ts';
import { AppError } from '../../../shared/platform/errors.ts';
import { findLatestCheckpoint } from '../../../shared/store/audit/checkpoints.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { refusals } from '../../http/problem.ts';

/** Evidence that the log is whole: its signed head, and an export that can be verified without this system. */
export function auditEvidenceRoutes(app: App, api: Api): void {
  checkpointRoute(app, api);
  exportRoute(app, api);
}

function checkpointRoute(app: App, { deps }: Api): void {
  app.get(
    '/v1/audit/checkpoint',
    {
      config: { permission: { resource: 'audit', action: 'read' } },
      schema: {
        tags: ['audit'],
        summary: 'The newest signed head of the log',
        response: { 200: checkpointSchema, ...refusals },
      },
    },
    async (request) => {
      const { tenantId } = callerOf(request);
      const checkpoint =
        (await findLatestCheckpoint(deps.database, tenantId)) ?? (await publishCheckpoint(deps, tenantId));
      if (!checkpoint) throw new AppError('not_found', { detail: 'The log has no entries yet.' });
      return viewCheckpoint(checkpoint, await verifierKeysOf(deps, tenantId));
    },
  );
}

function exportRoute(app: App, { deps }: Api): void {
  app.get(
    '/v1/audit/export',
    {
      config: { permission: { resource: 'audit', action: 'export' } },
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
      const checkpoint = await beginExport(deps, callerOf(request).tenantId, actorOf(request));
      reply.type('application/x-ndjson');
      reply.header('content-disposition', `attachment; filename="audit-${checkpoint.seq}.ndjson"`);
      return reply.send(Readable.from(exportLines(deps, checkpoint)) as never);
    },
  );
}
