import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { requirePermission } from '../../../shared/access/permissions.ts';
import { makeComplianceReport } from '../../../shared/report/compliance.ts';
import { toCsv } from '../../../shared/report/csv.ts';
import { REPORT_CSP, toHtml } from '../../../shared/report/html.ts';
import { complianceSchema } from '../../../shared/report/schema.ts';
import { type Api, type App, callerOf } from '../../http/context.ts';
import { refusals } from '../../http/problem.ts';

const FORMATS = ['json', 'csv', 'html'] as const;
type Format = (typeof FORMATS)[number];

const query = z.object({
  format: z.enum(FORMATS).optional().meta({ description: 'In place of the `Accept` header' }),
  dormantAfterDays: z.coerce.number().int().min(1).max(3_650).default(90),
});

/** `GET /v1/reports/compliance`. */
export function reportRoutes(app: App, { deps }: Api): void {
  app.get(
    '/v1/reports/compliance',
    {
      schema: {
        tags: ['reports'],
        summary: 'The compliance report, as JSON, CSV or a page to print',
        description:
          'Age against policy, overdue rotations, dormant credentials, key versions, incidents with the time to contain them, and ' +
          'whether the log is whole. Lists end after 50 rows; counts are of everything.',
        querystring: query,
        response: {
          200: {
            description: 'The report',
            content: {
              'application/json': { schema: complianceSchema },
              'text/csv': { schema: z.string() },
              'text/html': { schema: z.string() },
            },
          },
          ...refusals,
        },
      },
    },
    async (request, reply) => {
      const { tenantId } = callerOf(request);
      requirePermission(callerOf(request), 'reports', 'read');
      const { dormantAfterDays } = request.query;
      const report = await makeComplianceReport(deps, { tenantId, dormantAfterDays });
      reply.header('vary', 'accept');
      switch (request.query.format ?? wantedFormat(request)) {
        case 'csv':
          reply.header(
            'content-disposition',
            `attachment; filename="compliance-${report.generatedAt.slice(0, 10)}.csv"`,
          );
          return reply.type('text/csv; charset=utf-8').send(toCsv(report) as never);
        case 'html':
          reply.header('content-security-policy', REPORT_CSP);
          return reply.type('text/html; charset=utf-8').send(toHtml(report) as never);
        default:
          return reply.type('application/json; charset=utf-8').send(report as never);
      }
    },
  );
}

const TYPES: Record<string, Format> = { 'text/html': 'html', 'text/csv': 'csv', 'application/json': 'json' };

/** The first of the types in `Accept` that there is; browsers put HTML first. */
function wantedFormat({ headers }: FastifyRequest): Format {
  const asked = (headers.accept ?? '').split(',').map((part) => part.split(';', 1)[0]!.trim().toLowerCase());
  return asked.map((type) => TYPES[type]).find((format) => format !== undefined) ?? 'json';
}
