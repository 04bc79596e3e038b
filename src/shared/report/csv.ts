import type { ComplianceReport } from './schema.ts';

type Cell = string | number | null;

/** The report as rows of `section,item,measure,value` (RFC 4180), so that one sheet holds all of it. */
export function toCsv(report: ComplianceReport): string {
  const rows: Cell[][] = [['section', 'item', 'measure', 'value'], ...rowsOf(report)];
  return rows.map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}

function rowsOf(report: ComplianceReport): Cell[][] {
  const { services, ages, overdue, dormant, keys, incidents, log } = report;
  return [
    ['report', report.tenant.id, 'generatedAt', report.generatedAt],
    ...services.flatMap(({ service, states, ...counts }) =>
      Object.entries({ ...states, ...counts }).map(([measure, value]) => ['service', service, measure, value]),
    ),
    ...ages.map(({ fromDays, toDays, credentials }) => [
      'age',
      `${fromDays}-${toDays ?? ''} days`,
      'credentials',
      credentials,
    ]),
    ...overdue.items.flatMap(({ credentialId, ...row }) => measures('overdue', credentialId, row)),
    ...dormant.items.flatMap(({ credentialId, ...row }) => measures('dormant', credentialId, row)),
    ['keys', 'all', 'coverage', keys.coverage],
    ...keys.versions.flatMap(({ version, ...row }) => measures('keys', `version ${version}`, row)),
    ['incidents', 'all', 'count', incidents.count],
    ['incidents', 'all', 'open', incidents.open],
    ...Object.entries(incidents.timeToContainMs ?? {}).map(([name, ms]) => [
      'incidents',
      'all',
      `${name} ms to contain`,
      ms,
    ]),
    ...incidents.items.flatMap(({ id, ...row }) => measures('incidents', id, row)),
    ['log', 'all', 'status', log.status],
    ['log', 'all', 'entries', log.entries],
    ...log.findings.map(({ seq, kind, about }) => ['log', `entry ${seq}`, kind, about]),
  ];
}

function measures(section: string, item: string, row: Record<string, Cell>): Cell[][] {
  return Object.entries(row).map(([measure, value]) => [section, item, measure, value]);
}

/** Quoted where needed. A text that a spreadsheet would take for a formula is made a plain one by an apostrophe. */
function cell(value: Cell): string {
  if (typeof value === 'number') return String(value);
  const text = /^[=+\-@\t\r]/.test(value ?? '') ? `'${value}` : (value ?? '');
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
