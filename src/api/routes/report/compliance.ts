import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
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
export function complianceRoutes(app: App, { deps }: Api): void {
  app.get(
    '/v1/reports/compliance',
    {
      config: { permission: { resource: 'reports', action: 'read' } },
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
      const { dormantAfterDays, format } = request.query;
      const report = await makeComplianceReport(deps, { tenantId, dormantAfterDays });
      const { type, headers, body } = RENDERINGS[format ?? wantedFormat(request)](report);
      return reply
        .headers({ vary: 'accept', ...headers })
        .type(type)
        .send(body as never);
    },
  );
}

type Report = Awaited<ReturnType<typeof makeComplianceReport>>;

type Rendering = { type: string; headers?: Record<string, string>; body: unknown };

const RENDERINGS: Record<Format, (report: Report) => Rendering> = {
  json: (report) => ({ type: 'application/json; charset=utf-8', body: report }),
  csv: (report) => {
    const filename = `compliance-${report.generatedAt.slice(0, 10)}.csv`;
    const headers = { 'content-disposition': `attachment; filename="${filename}"` };
    return { type: 'text/csv; charset=utf-8', headers, body: toCsv(report) };
  },
  html: (report) => ({
    type: 'text/html; charset=utf-8',
    headers: { 'content-security-policy': REPORT_CSP },
    body: toHtml(report),
  }),
};

const TYPES: Record<string, Format> = { 'text/html': 'html', 'text/csv': 'csv', 'application/json': 'json' };

/** The first of the types in `Accept` that there is; browsers put HTML first. */
function wantedFormat({ headers }: FastifyRequest): Format {
  const asked = (headers.accept ?? '').split(',').map((part) => part.split(';', 1)[0]!.trim().toLowerCase());
  return asked.map((type) => TYPES[type]).find((format) => format !== undefined) ?? 'json';
}
