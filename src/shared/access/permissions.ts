/** Access control by `service:action` (either part may be `*`). Actions on Keyturn itself use the resource's name. */
import { AppError } from '../platform/errors.ts';

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
