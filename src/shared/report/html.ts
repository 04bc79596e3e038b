/** The report as one page: readable on a screen, printable on A4, and without anything that is loaded from elsewhere. */
import { hash } from 'node:crypto';
import { escapeHtml } from '../platform/html.ts';
import type { ComplianceReport } from './schema.ts';
import { STYLE } from './style.ts';

/** Nothing but the style may load. */
export const REPORT_CSP = `default-src 'none'; style-src 'sha256-${hash('sha256', STYLE, 'base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;

type Cell = string | number | null;
type Mood = 'good' | 'bad' | 'open';

/** The whole document. */
export function toHtml(report: ComplianceReport): string {
  const { tenant, generatedAt } = report;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Compliance report ${generatedAt.slice(0, 10)} – ${escapeHtml(tenant.name)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>Compliance report</h1>
<p>Tenant <strong>${escapeHtml(tenant.name)}</strong> <code>${escapeHtml(tenant.id)}</code><br>Made ${moment(generatedAt)} by Keyturn</p>
</header>
<main>
${summary(report)}
${servicesSection(report)}
${agesSection(report)}
${overdueSection(report)}
${dormantSection(report)}
${keysSection(report)}
${incidentsSection(report)}
${logSection(report)}
</main>
</body>
</html>
`;
}

const LOG_WORDS = { verified: 'whole', tampered: 'TAMPERED WITH', not_checked: 'not checked' } as const;
const LOG_MOODS = { verified: 'good', tampered: 'bad', not_checked: 'open' } as const;

function summary({ services, overdue, dormant, keys, incidents, log }: ComplianceReport): string {
  const active = services.reduce((sum, { states }) => sum + (states.active ?? 0), 0);
  const { timeToContainMs: contain } = incidents;
  return `<section class="tiles" aria-label="Summary">
${tile('Active credentials', active, 'open')}
${tile('Overdue rotations', overdue.count, overdue.count === 0 ? 'good' : 'bad')}
${tile('Dormant', dormant.count, dormant.count === 0 ? 'good' : 'open')}
${tile('Under the current key', percent(keys.coverage), keys.coverage === 1 ? 'good' : 'open')}
${tile('Open incidents', incidents.open, incidents.open === 0 ? 'good' : 'bad')}
${tile('Contained within (median)', contain ? duration(contain.p50) : '–', 'open')}
${tile('Audit log', LOG_WORDS[log.status], LOG_MOODS[log.status])}
</section>`;
}

function tile(name: string, value: Cell, mood: Mood): string {
  return `<div class="tile ${mood}"><span>${name}</span><strong>${escapeHtml(String(value))}</strong></div>`;
}

function servicesSection({ services }: ComplianceReport): string {
  const rows = services.map(({ service, states, withPolicy, overdue, dormant, oldestDays }) => {
    const { active = 0, ...rest } = states;
    const others = Object.entries(rest).map(([state, count]) => `${count} ${state.replaceAll('_', ' ')}`);
    return [service, active, others.join(', ') || '–', withPolicy, overdue, dormant, oldestDays];
  });
  const head = ['Service', 'Active', 'Other states', 'With policy', 'Overdue', 'Dormant', 'Oldest secret (days)'];
  return section('States by service', table(head, rows, 'There are no credentials.'));
}

const BAR_WIDTH = 240;

function agesSection({ ages }: ComplianceReport): string {
  const most = Math.max(1, ...ages.map(({ credentials }) => credentials));
  const rows = ages.map(({ fromDays, toDays, credentials }) => {
    const width = Math.round((BAR_WIDTH * credentials) / most);
    const bar = `<svg width="${BAR_WIDTH}" height="12" aria-hidden="true"><rect width="${width}" height="12"/></svg>`;
    const range = toDays === null ? `over ${fromDays}` : `${fromDays} to ${toDays}`;
    return `<tr><td>${range} days</td><td class="number">${credentials}</td><td>${bar}</td></tr>`;
  });
  const head = '<thead><tr><th>Age</th><th class="number">Secrets</th><th></th></tr></thead>';
  return section('Age of active secrets', `<table class="narrow">${head}<tbody>${rows.join('\n')}</tbody></table>`);
}

function overdueSection({ overdue }: ComplianceReport): string {
  const rows = overdue.items.map((row) => [
    row.service,
    row.subject,
    row.ageDays,
    row.policyDays,
    row.step ?? 'not begun',
    row.credentialId,
  ]);
  const head = ['Service', 'Subject', 'Age (days)', 'Policy (days)', 'Rotation', 'Credential'];
  return section('Overdue rotations', cutOff(overdue.count, rows.length) + table(head, rows, 'None is overdue.'));
}

function dormantSection({ dormant, dormantAfterDays }: ComplianceReport): string {
  const rows = dormant.items.map(({ service, subject, lastReleasedAt, credentialId }) => [
    service,
    subject,
    lastReleasedAt ? moment(lastReleasedAt) : 'never',
    credentialId,
  ]);
  const list = table(['Service', 'Subject', 'Last released', 'Credential'], rows, 'Every active credential is in use.');
  return section(`Dormant for ${dormantAfterDays} days`, cutOff(dormant.count, rows.length) + list);
}

function keysSection({ keys }: ComplianceReport): string {
  const rows = keys.versions.map(({ version, state, createdAt, credentials }) => [
    version,
    state.replaceAll('_', ' '),
    createdAt ? moment(createdAt) : '–',
    credentials,
  ]);
  const words = `<p>${percent(keys.coverage)} of the secrets are sealed under the current data key.</p>`;
  return section(
    'Key versions',
    words + table(['Version', 'State', 'Made', 'Secrets'], rows, 'There is no data key yet.'),
  );
}

function incidentsSection({ incidents }: ComplianceReport): string {
  const { timeToContainMs: contain, bySeverity, since, count, items } = incidents;
  const severities = Object.entries(bySeverity).map(([severity, number]) => `${number} ${severity}`);
  const times = contain
    ? ` Time to contain: half within ${duration(contain.p50)}, nine of ten within ${duration(contain.p90)}, all within ${duration(contain.most)}.`
    : '';
  const words = `<p>${count} since ${moment(since)}${severities.length > 0 ? ` (${severities.join(', ')})` : ''}.${times}</p>`;
  const rows = items.map(({ id, severity, status, service, detectedAt, containedInMs }) => [
    moment(detectedAt),
    severity,
    status,
    service,
    containedInMs === null ? 'not contained' : duration(containedInMs),
    id,
  ]);
  const head = ['Detected', 'Severity', 'Status', 'Service', 'Contained in', 'Incident'];
  return section('Incidents', words + cutOff(count, rows.length) + table(head, rows, 'There were none.'));
}

function logSection({ log }: ComplianceReport): string {
  const { status, entries, lastHash, checkpoint, findings, limits } = log;
  const signed = checkpoint
    ? `Signed up to entry ${checkpoint.seq}, ${moment(checkpoint.at)}.`
    : 'No head is signed yet.';
  const verdict = `<p class="${LOG_MOODS[status]}"><strong>${LOG_WORDS[status]}</strong>: ${entries} entries. ${signed}</p>`;
  const head = `<p>Last hash <code>${escapeHtml(lastHash ?? '–')}</code></p>`;
  const rows = findings.map(({ seq, kind, about, entryId }) => [seq, kind.replaceAll('_', ' '), about, entryId]);
  const found = rows.length > 0 ? table(['Entry', 'Finding', 'About', 'Id'], rows, '') : '';
  const notes = limits.map((limit) => `<li>${escapeHtml(limit)}</li>`).join('');
  const unseen = notes && `<h3>What this check could not show</h3><ul>${notes}</ul>`;
  return section('Audit log', verdict + head + found + unseen);
}

function section(title: string, content: string): string {
  return `<section><h2>${escapeHtml(title)}</h2>${content}</section>`;
}

function table(head: string[], rows: Cell[][], empty: string): string {
  if (rows.length === 0) return `<p class="empty">${escapeHtml(empty)}</p>`;
  const isNumber = head.map(
    (_, column) => column > 0 && rows.every((row) => typeof row[column] === 'number' || row[column] === null),
  );
  const cells = (row: Cell[], tag: 'td' | 'th') =>
    row.map(
      (value, column) =>
        `<${tag}${isNumber[column] ? ' class="number"' : ''}>${escapeHtml(String(value ?? '–'))}</${tag}>`,
    );
  const body = rows.map((row) => `<tr>${cells(row, 'td').join('')}</tr>`).join('\n');
  return `<table><thead><tr>${cells(head, 'th').join('')}</tr></thead><tbody>${body}</tbody></table>`;
}

function cutOff(count: number, shown: number): string {
  return count > shown ? `<p>The first ${shown} of ${count}.</p>` : '';
}

function moment(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`;
}

/** Never a full 100 % where a part is missing. */
function percent(share: number): string {
  return `${Math.floor(share * 1_000) / 10} %`;
}

function duration(ms: number): string {
  if (ms < 1_000) return `${ms} ms`;
  if (ms < 120_000) return `${Math.round(ms / 100) / 10} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return `${Math.round(ms / 3_600_000)} h`;
}
