/**
 * Writes the tables and diagrams of the documentation that code determines, between `<!-- name -->` and `<!-- /name -->`:
 * `npm run docs`. With `--check` it writes nothing, names what is out of date and exits 1.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type DueAfter, TRANSITIONS } from '../src/shared/credentials/lifecycle.ts';
import { VARIABLES } from '../src/shared/platform/config/variables.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

const DUE_IN_WORDS: Record<DueAfter, string> = {
  of_secret: 'what the secret asks for, while `active`',
  of_secret_and_policy: 'what the secret and the policy of rotation ask for',
  of_rotation: 'a rotation under way, as before',
  end_of_rotation: 'a rotation under way, now',
};

/** One generated table or diagram: where it stands and what it says. */
export type Generated = { file: string; marker: string; table: string };

/** Everything that is generated. */
export const GENERATED: Generated[] = [
  { file: 'docs/lifecycle.md', marker: 'transitions', table: transitionTable() },
  { file: 'docs/lifecycle.md', marker: 'diagram', table: stateDiagram() },
  { file: 'README.md', marker: 'variables', table: variableTable() },
];

function transitionTable(): string {
  const rows = Object.entries(TRANSITIONS).map(([name, { from, to, entry, due, clears, cause }]) => [
    code(name),
    from.map(code).join(', '),
    code(to),
    entry === null ? "the incident's" : code(entry),
    DUE_IN_WORDS[due],
    clears.map(code).join(', '),
    cause,
  ]);
  return toTable(['transition', 'from', 'to', 'entry', 'due from then on', 'clears', 'cause'], rows);
}

/** Every way from state to state, with the transitions that take it. */
function stateDiagram(): string {
  const edges = Object.entries<{ from: readonly string[]; to: string }>(TRANSITIONS).flatMap(([name, { from, to }]) =>
    from.map((state) => ({ name, edge: `${state} --> ${to === 'same' ? state : to}` })),
  );
  const lines = [...Map.groupBy(edges, ({ edge }) => edge)].map(
    ([edge, ways]) => `${edge}: ${ways.map(({ name }) => name).join(', ')}`,
  );
  const all = ['[*] --> pending', ...lines, 'destroyed --> [*]'].map((line) => `  ${line}`);
  return ['```mermaid', 'stateDiagram-v2', ...all, '```'].join('\n');
}

function variableTable(): string {
  type Row = { name: string; required?: true; default?: string; secret?: true; about: string };
  const rows = Object.values<Row>(VARIABLES).map((row) => [
    code(row.name),
    row.required ? '**required**' : row.default ? code(row.default) : '',
    row.secret ? `${row.about} (secret)` : row.about,
  ]);
  return toTable(['variable', 'default', 'meaning'], rows);
}

function code(text: string): string {
  return `\`${text}\``;
}

function toTable(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** `text` with the table between its markers. Throws when a marker is missing or stands twice. */
export function withTable(text: string, { marker, table, file }: Generated): string {
  const [before, inside, ...twice] = text.split(`<!-- ${marker} -->`);
  const after = inside?.split(`<!-- /${marker} -->`);
  if (twice.length > 0 || after?.length !== 2) {
    throw new Error(`${file} must hold <!-- ${marker} --> and <!-- /${marker} --> once each.`);
  }
  return `${before}<!-- ${marker} -->\n\n${table}\n\n<!-- /${marker} -->${after[1]}`;
}

/** What is out of date: one sentence each. Writes it anew unless `check`. */
export function updateDocs({ check }: { check: boolean }, tables = GENERATED): string[] {
  return tables.flatMap((generated) => {
    const path = `${ROOT}${generated.file}`;
    if (!existsSync(path)) return [`${generated.file} does not exist.`];
    const text = readFileSync(path, 'utf8');
    const fresh = withTable(text, generated);
    if (fresh === text) return [];
    if (!check) writeFileSync(path, fresh);
    return [
      `The table "${generated.marker}" in ${generated.file} ${check ? 'is out of date: npm run docs' : 'was written'}.`,
    ];
  });
}

if (import.meta.main) {
  const check = process.argv.includes('--check');
  const changes = updateDocs({ check });
  process.stdout.write(changes.map((line) => `${line}\n`).join(''));
  if (check && changes.length > 0) process.exitCode = 1;
}
