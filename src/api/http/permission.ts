/**
 * A route says which permission its caller needs as data, in `config.permission`, so that all of them can be listed and tested.
 * Enforcement reads that same data: the hook below where the resource is known beforehand, `permitOn` in the handler where it
 * has to be read first. Where a domain function checks (release, validation, intake), the route takes the action from there.
 */
import type { FastifyRequest, preHandlerAsyncHookHandler } from 'fastify';
import { type Action, requirePermission } from '../../shared/access/permissions.ts';
import { type App, callerOf, isProtected } from './context.ts';

export type RoutePermission =
  /** On Keyturn itself. Asked before the handler runs. */
  | { resource: string; action: Action }
  /** On the service that the body names. Asked before the handler runs. */
  | { serviceOf: 'body'; action: Action }
  /** On the service of the credential in the path. It is read first: one that the tenant does not have is 404 to everybody. */
  | { serviceOf: 'credential'; action: Action }
  /** On the service of the event in the path, which is read first as well. Its sender needs no permission to see it. */
  | { serviceOf: 'event'; action: Action; orSender: true }
  /** A list shows the rows of those services that the caller may read. A caller who may read none is refused. */
  | { serviceOf: 'each row'; action: Action }
  /** Intake decides event by event: each type has an action of its own (`EVENTS`). One refusal never harms the others. */
  | { serviceOf: 'each event'; action: 'of its type' };

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Every route of `/v1` has one, unless it is `open`. */
    permission?: RoutePermission;
  }
}

/**
 * Asks for the permission that a route declares, after its schemas have judged the request. A route of `/v1` that declares
 * none and is not open keeps the process from starting: forgotten, it would be open to every key. Call it before any route.
 */
export function enforcePermissions(app: App): void {
  app.addHook('onRoute', (route) => {
    const { method, url, config } = route;
    if (!isProtected(url, config)) return;
    if (!config?.permission) throw new Error(`${method} ${url} declares no permission`);
    const check = checkOf(config.permission);
    if (check) route.preHandler = [check, ...[route.preHandler ?? []].flat()];
  });
}

/** The check before the handler; null where the handler asks, once it has read what the permission is on. */
function checkOf(permission: RoutePermission): preHandlerAsyncHookHandler | null {
  if ('resource' in permission) {
    const { resource, action } = permission;
    return async (request) => requirePermission(callerOf(request), resource, action);
  }
  if (permission.serviceOf !== 'body') return null;
  return async (request) => permitOn(request)((request.body as { service: string }).service);
}

/** Throws `permission_denied` unless the caller may do to a service what the route declares. */
export type Permit = (service: string) => void;

/** The check that a handler makes once it knows the service; its action is the one that the route declares. */
export function permitOn(request: FastifyRequest): Permit {
  const action = actionOf(request);
  return (service) => requirePermission(callerOf(request), service, action);
}

/** The action that the route declares. */
export function actionOf({ routeOptions }: FastifyRequest): Action {
  const action = routeOptions.config.permission?.action;
  if (action === undefined || action === 'of its type') throw new Error(`${routeOptions.url} declares no action`);
  return action;
}
