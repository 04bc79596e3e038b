import { FIRST_TENANT_ID, newTenant } from '../../../shared/access/bootstrap.ts';
import { createdTenantSchema, newTenantSchema, viewPrincipal } from '../../../shared/access/schema.ts';
import { AppError } from '../../../shared/platform/errors.ts';
import { newId } from '../../../shared/platform/ids.ts';
import { type Api, type App, actorOf, callerOf } from '../../http/context.ts';
import { refusals } from '../../http/problem.ts';

/** `POST /v1/tenants`: for principals of the first tenant only, whatever a principal of another may do there. */
export function tenantRoutes(app: App, { deps }: Api): void {
  app.post(
    '/v1/tenants',
    {
      config: { permission: { resource: 'tenants', action: 'manage' } },
      schema: {
        tags: ['administration'],
        summary: 'Makes a tenant and its admin key',
        description: 'The key is in this reply and nowhere else.',
        body: newTenantSchema,
        response: { 201: createdTenantSchema, ...refusals },
      },
    },
    async (request, reply) => {
      if (callerOf(request).tenantId !== FIRST_TENANT_ID) {
        throw new AppError('permission_denied', { detail: 'Only a principal of the first tenant makes tenants.' });
      }
      const tenant = { _id: newId('tenant', deps), name: request.body.name };
      const { change, principal, key, createdAt } = newTenant(deps, tenant, actorOf(request));
      await deps.commit(change);
      reply.code(201);
      const admin = { ...viewPrincipal(principal), key };
      return { id: tenant._id, name: tenant.name, createdAt: createdAt.toISOString(), admin };
    },
  );
}
