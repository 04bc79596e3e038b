import { z } from 'zod';
import { FIRST_TENANT_ID } from '../../../shared/access/bootstrap.ts';
import { ownerOf, requestRotation } from '../../../shared/keys/rotation/requests.ts';
import { keyRotationSchema, newKeyRotationSchema, viewKeyRotation } from '../../../shared/keys/schema.ts';
import { AppError } from '../../../shared/platform/errors.ts';
import type { PrincipalDoc } from '../../../shared/store/access/principals.ts';
import { SYSTEM_TENANT_ID } from '../../../shared/store/access/tenants.ts';
import { findKeyRotation } from '../../../shared/store/keys/key-rotations.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import type { RoutePermission } from '../../http/permission.ts';
import { refusals } from '../../http/problem.ts';

const tags = ['keys'];
const permission: RoutePermission = { resource: 'keys', action: 'manage' };

/** `/v1/keys/rotations`: the caller's own data keys; the root key for principals of the first tenant only. */
export function keyRotationRoutes(app: App, api: Api): void {
  createRoute(app, api);
  showRoute(app, api);
}

function createRoute(app: App, { deps }: Api): void {
  app.post(
    '/v1/keys/rotations',
    {
      config: { permission },
      schema: {
        tags,
        summary: 'Rotates a key in the background, or shows the rotation of that kind that is under way',
        description:
          '`data`: every sealed value is sealed anew under a new data key. `fingerprint`: tokens are fingerprinted anew. ' +
          '`root`: data keys are wrapped anew under the first root key of the key provider.',
        body: newKeyRotationSchema,
        response: { 202: keyRotationSchema, ...refusals },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { kind } = request.body;
      if (kind === 'root' && !isOperator(caller)) {
        throw new AppError('permission_denied', {
          detail: 'Only a principal of the first tenant rotates the root key.',
        });
      }
      const target = kind === 'root' ? await deps.keyProvider.currentKeyId() : null;
      const tenantId = ownerOf(kind, caller.tenantId);
      const rotation = await requestRotation(deps, { tenantId, kind, target, actor: actorOf(request) });
      reply.code(202);
      return viewKeyRotation(rotation);
    },
  );
}

function showRoute(app: App, { deps }: Api): void {
  app.get(
    '/v1/keys/rotations/:id',
    {
      config: { permission },
      schema: {
        tags,
        summary: 'The progress of a rotation',
        params: z.object({ id: z.string().max(100) }),
        response: { 200: keyRotationSchema, ...refusals },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const { id } = request.params;
      const find = (tenantId: string) => findKeyRotation(deps.database, { tenantId, id });
      const rotation = (await find(caller.tenantId)) ?? (isOperator(caller) && (await find(SYSTEM_TENANT_ID)));
      if (!rotation) throw new AppError('not_found');
      return viewKeyRotation(rotation);
    },
  );
}

function isOperator(caller: PrincipalDoc): boolean {
  return caller.tenantId === FIRST_TENANT_ID;
}
