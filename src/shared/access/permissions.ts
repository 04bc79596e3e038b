/** Access control by `service:action` (either part may be `*`). Actions on Keyturn itself use the resource's name. */
import { AppError } from '../platform/errors.ts';

/** What may be done with a resource. */
export const ACTIONS = [
  'read',
  'release',
  'connect',
  'import',
  'refresh',
  'rotate',
  'revoke',
  'quarantine',
  'restore',
  'validate',
  'report',
  'manage',
  'export',
] as const;

export type Action = (typeof ACTIONS)[number];

/** A permission in its written form. */
export const PERMISSION = new RegExp(`^(\\*|[a-z0-9][a-z0-9-]{0,39}):(\\*|${ACTIONS.join('|')})$`);

/** Who holds permissions. */
export type Grantee = { permissions: readonly string[] };

/** Whether one of the permissions covers `resource:action`. */
export function may(grantee: Grantee, resource: string, action: Action): boolean {
  return [`${resource}:${action}`, `${resource}:*`, `*:${action}`, '*:*'].some((wanted) =>
    grantee.permissions.includes(wanted),
  );
}

/** Throws `permission_denied`, naming what is missing. */
export function requirePermission(grantee: Grantee, resource: string, action: Action): void {
  if (may(grantee, resource, action)) return;
  throw new AppError('permission_denied', { detail: `This needs the permission ${resource}:${action}.` });
}

/** Throws `permission_denied` when one of the permissions is more than the grantee has: nobody grants that. */
export function requireGrantable(grantee: Grantee, permissions: readonly string[]): void {
  const excess = permissions.find((permission) => {
    const [resource, action] = permission.split(':') as [string, Action];
    return !may(grantee, resource, action);
  });
  if (excess === undefined) return;
  throw new AppError('permission_denied', { detail: `You cannot grant ${excess}, which you do not have.` });
}

/** The resources on which the grantee may do `action`; null: on all of them. */
export function resourcesFor(grantee: Grantee, action: Action): string[] | null {
  if (may(grantee, '*', action)) return null;
  return grantee.permissions
    .map((permission) => permission.split(':') as [string, string])
    .filter(([, granted]) => granted === action || granted === '*')
    .map(([resource]) => resource);
}
