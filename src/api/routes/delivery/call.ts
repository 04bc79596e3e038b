import type { FastifyRequest } from 'fastify';
import type { SubscriptionCall } from '../../../shared/delivery/subscription-requests.ts';
import { actorOf, callerOf } from '../../http/context.ts';
import type { RoutePermission } from '../../http/permission.ts';

export const READ_SUBSCRIPTIONS: RoutePermission = { resource: 'subscriptions', action: 'read' };

export const MANAGE_SUBSCRIPTIONS: RoutePermission = { resource: 'subscriptions', action: 'manage' };

/** The subscription in the path, and who asks. */
export function subscriptionCall(request: FastifyRequest): SubscriptionCall {
  const { id } = request.params as { id: string };
  return { tenantId: callerOf(request).tenantId, id, actor: actorOf(request) };
}
