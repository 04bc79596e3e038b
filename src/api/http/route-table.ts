import { AppError } from '../../shared/platform/errors.ts';
import type { App } from './context.ts';

/** Answers 404 for a path that does not exist, 405 for one that does not take the method. Call it before any route is added. */
export function refuseUnknownRoutes(app: App): void {
  const table = new Map<string, { pattern: RegExp; methods: Set<string> }>();
  app.addHook('onRoute', ({ url, method }) => {
    const known = table.get(url) ?? { pattern: patternOf(url), methods: new Set<string>() };
    for (const one of [method].flat()) known.methods.add(one);
    table.set(url, known);
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0]!;
    const rows = [...table.values()].filter(({ pattern }) => pattern.test(path));
    if (rows.length === 0) throw new AppError('not_found', { detail: 'There is no such path; see /openapi.json.' });
    const allowed = [...new Set(rows.flatMap(({ methods }) => [...methods]))].sort().join(', ');
    reply.header('allow', allowed);
    throw new AppError('method_not_allowed', { detail: `It takes ${allowed}.` });
  });
}

function patternOf(url: string): RegExp {
  const source = url.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*');
  return new RegExp(`^${source.replace(/:[A-Za-z]+/g, '[^/]+')}/?$`);
}
