import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { GENERATED, updateDocs, withTable } from '../scripts/docs.ts';
import { TRANSITIONS } from '../src/shared/credentials/lifecycle.ts';
import { FLOORS } from '../testkit/floors.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

/** A source file: its path from the root, its code without comments, and the files of ours that it imports. */
type Source = { path: string; code: string; imports: string[]; valueImports: string[] };

const sources: Source[] = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => readSource(join('src', file)));

function readSource(path: string): Source {
  const code = withoutComments(readFileSync(join(ROOT, path), 'utf8'));
  const all = importsOf(path, code);
  const typesOnly = new Set(importsOf(path, [...code.matchAll(/\b(?:import|export) type\b[^;]*;/g)].join('\n')));
  return { path, code, imports: all, valueImports: all.filter((one) => !typesOnly.has(one)) };
}

/** Comments go; strings stay, so that a URL keeps its slashes. */
function withoutComments(text: string): string {
  return text.replace(
    /('(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`)|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g,
    (all, string) => (string === undefined ? ' ' : all),
  );
}

function importsOf(path: string, code: string): string[] {
  return [...code.matchAll(/\b(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(([, to]) =>
    relative(ROOT, join(ROOT, dirname(path), to!)),
  );
}

const roomOf = (path: string) => FLOORS.flat().find((room) => path.startsWith(`${room}/`));

const floorOf = (path: string) => FLOORS.findIndex((rooms) => rooms.includes(roomOf(path) ?? ''));

/** `path imports other` wherever a file reaches up, sideways, or out of the source. Types count. */
function trespasses(files: Pick<Source, 'path' | 'imports'>[]): string[] {
  return files.flatMap(({ path, imports }) =>
    imports
      .filter((other) => roomOf(path) !== roomOf(other) && (floorOf(other) < 0 || floorOf(other) >= floorOf(path)))
      .map((other) => `${path} imports ${other}`),
  );
}

/** The imports between folders, types included: what stands in one folder counts as one. */
function folderGraph(files: Pick<Source, 'path' | 'imports'>[]): Pick<Source, 'path' | 'valueImports'>[] {
  return [...Map.groupBy(files, ({ path }) => dirname(path))].map(([path, group]) => ({
    path,
    valueImports: [...new Set(group.flatMap(({ imports }) => imports.map((other) => dirname(other))))].filter(
      (other) => other !== path,
    ),
  }));
}

/** All that is loaded with a file. */
function closureOf(files: Pick<Source, 'path' | 'valueImports'>[], start: string): Set<string> {
  const graph = new Map(files.map(({ path, valueImports }) => [path, valueImports]));
  const reached = new Set([start]);
  for (const path of reached) for (const next of graph.get(path) ?? []) reached.add(next);
  return reached;
}

const MAX_FILES_IN_FOLDER = 16;

/** Folders in which one gets lost. */
function crowded(paths: string[]): string[] {
  return [...Map.groupBy(paths, (path) => dirname(path))]
    .filter(([, files]) => files.length > MAX_FILES_IN_FOLDER)
    .map(([folder, files]) => `${folder} has ${files.length} files`);
}

/** One cycle among the imports, as a path; null when there is none. */
function findCycle(files: Pick<Source, 'path' | 'valueImports'>[]): string[] | null {
  const graph = new Map(files.map(({ path, valueImports }) => [path, valueImports]));
  const done = new Set<string>();
  const visit = (path: string, way: string[]): string[] | null => {
    if (way.includes(path)) return [...way.slice(way.indexOf(path)), path];
    if (done.has(path)) return null;
    for (const next of graph.get(path) ?? []) {
      const cycle = visit(next, [...way, path]);
      if (cycle) return cycle;
    }
    done.add(path);
    return null;
  };
  for (const path of graph.keys()) {
    const cycle = visit(path, []);
    if (cycle) return cycle;
  }
  return null;
}

/** A word of the platform, and the only files that may use it. */
const RESERVED: [RegExp, RegExp][] = [
  [/\bprocess\.env\b/, /^src\/\w+\/main\.ts$/],
  [/\bDate\.now\b/, /^src\/shared\/platform\/clock\.ts$/],
  [/\bnew Date\(\s*\)/, /^src\/shared\/platform\/clock\.ts$/],
  [/\b(?:setTimeout|setInterval)\b/, /^src\/shared\/platform\/clock\.ts$/],
  [/\bperformance\.now\b/, /^src\/shared\/platform\/clock\.ts$/],
  [/\bMath\.random\b/, /^src\/shared\/platform\/random\.ts$/],
  [/\b(?:randomBytes|randomUUID|randomInt)\b/, /^src\/shared\/platform\/random\.ts$/],
];

function misuses(files: Pick<Source, 'path' | 'code'>[]): string[] {
  return files.flatMap(({ path, code }) =>
    RESERVED.filter(([word, allowed]) => word.test(code) && !allowed.test(path)).map(
      ([word]) => `${path} uses ${word.source}`,
    ),
  );
}

describe('the source', () => {
  test('every file stands on a floor, and imports from lower floors only', () => {
    expect(sources.filter(({ path }) => floorOf(path) < 0)).toEqual([]);
    expect(sources.length).toBeGreaterThan(100);
    expect(sources.flatMap(({ imports }) => imports).filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
    expect(sources.flatMap(({ imports }) => imports).length).toBeGreaterThan(3 * sources.length);
    expect(trespasses(sources)).toEqual([]);
  });

  test('imports make no cycle', () => {
    expect(findCycle(sources)).toBeNull();
  });

  test('folders make no cycle either, types included', () => {
    expect(findCycle(folderGraph(sources))).toBeNull();
  });

  test('no folder has so many files that one gets lost', () => {
    expect(crowded(sources.map(({ path }) => path))).toEqual([]);
  });

  test('the API loads no rotator, no step of the playbook and no job', () => {
    const loaded = [...closureOf(sources, 'src/api/run.ts')];
    expect(loaded.length).toBeGreaterThan(100);
    expect(loaded.filter((path) => /\/(?:rotators|playbook)\/|\/job\.ts$/.test(path))).toEqual([]);
  });

  test('the environment, the clock and chance are read in one place each', () => {
    expect(misuses(sources)).toEqual([]);
  });

  test('these checks find what they look for', () => {
    const wrong = [
      { path: 'src/api/a.ts', imports: ['src/workers/consumers.ts', 'local/ports.ts', 'src/shared/store/commit.ts'] },
      { path: 'src/shared/keys/a.ts', imports: ['src/shared/audit/b.ts', 'src/shared/keys/rotation/c.ts'] },
      { path: 'src/shared/queue/a.ts', imports: ['src/shared/providers/b.ts', 'src/shared/platform/b.ts'] },
    ];
    expect(trespasses(wrong)).toHaveLength(4);
    const circle = [
      { path: 'x/a.ts', imports: ['x/y/b.ts'] },
      { path: 'x/y/b.ts', imports: ['x/c.ts'] },
    ];
    expect(findCycle(folderGraph(circle))).toEqual(['x', 'x/y', 'x']);
    expect(crowded(Array.from({ length: 17 }, (_, index) => `x/${index}.ts`))).toEqual(['x has 17 files']);
    expect(closureOf([{ path: 'a.ts', valueImports: ['b.ts'] }], 'a.ts')).toEqual(new Set(['a.ts', 'b.ts']));
    const files = [
      { path: 'a.ts', valueImports: ['b.ts'] },
      { path: 'b.ts', valueImports: ['c.ts'] },
      { path: 'c.ts', valueImports: ['b.ts'] },
    ];
    expect(findCycle(files)).toEqual(['b.ts', 'c.ts', 'b.ts']);
    const code = withoutComments("// Date.now()\nconst at = new Date( );\nconst text = 'http://x';");
    expect(misuses([{ path: 'src/api/a.ts', code }])).toEqual([expect.stringContaining('new Date')]);
    expect(code).toContain('http://x');
    expect(misuses([{ path: 'src/api/a.ts', code: 'new Date(ms)' }])).toEqual([]);
  });
});

describe('the documentation', () => {
  test.each(GENERATED.map(({ file, marker }) => [file, marker]))('%s: the table "%s" is that of the code', (file) => {
    expect(
      updateDocs(
        { check: true },
        GENERATED.filter((one) => one.file === file),
      ),
    ).toEqual([]);
  });

  test('the lifecycle has one row to a transition, and a table that is out of date is found', () => {
    const [lifecycle] = GENERATED;
    const { table } = lifecycle!;
    for (const [name, { from, to, entry }] of Object.entries(TRANSITIONS)) {
      const sources = from.map((state) => `\`${state}\``).join(', ');
      const written = entry === null ? "the incident's" : `\`${entry}\``;
      expect(table).toContain(`| \`${name}\` | ${sources} | \`${to}\` | ${written} |`);
    }
    const stale = '# x\n<!-- transitions -->\n| old |\n<!-- /transitions -->\nend';
    expect(withTable(stale, lifecycle!)).toBe(`# x\n<!-- transitions -->\n\n${table}\n\n<!-- /transitions -->\nend`);
    expect(() => withTable('# no markers', lifecycle!)).toThrow('must hold <!-- transitions -->');
  });

  test('the diagram of the lifecycle has every way of every transition, and no other', () => {
    const diagram = GENERATED.find(({ marker }) => marker === 'diagram')!.table;
    const drawn = [...diagram.matchAll(/^ {2}(\w+ --> \w+): (.+)$/gm)].flatMap(([, edge, names]) =>
      names!.split(', ').map((name) => `${edge}: ${name}`),
    );
    const there = Object.entries(TRANSITIONS).flatMap(([name, { from, to }]) =>
      from.map((state) => `${state} --> ${to === 'same' ? state : to}: ${name}`),
    );
    expect(drawn.toSorted()).toEqual(there.toSorted());
  });

  test('docs/INVARIANTS.md: each of the ten promises cites tests that exist', () => {
    const text = readFileSync(join(ROOT, 'docs/INVARIANTS.md'), 'utf8');
    expect(brokenCitations(text)).toEqual([]);
  });

  test('a promise without a test, a file and a name that there is not are found', () => {
    const self = 'test/architecture.test.ts';
    const sections = Array.from(
      { length: 10 },
      (_, index) => `## ${index + 1}. A promise\n- \`${self}\`: imports make no cycle\n`,
    );
    expect(brokenCitations(sections.join('\n'))).toEqual([]);
    expect(brokenCitations(sections.slice(1).join('\n'))).toEqual(['promise 1 cites no test']);
    const wrong = `${sections.join('\n')}- \`test/gone.test.ts\`: x\n- \`${self}\`: no such ${'name'}\n`;
    expect(brokenCitations(wrong)).toEqual([
      'promise 10: test/gone.test.ts does not exist',
      `promise 10: ${self} has no test "no such ${'name'}"`,
    ]);
  });
});

/**
 * Under a heading that begins with a promise's number, a citation is a line of a list: the path of a test file in
 * backticks, a colon, and the test's name or a part of it.
 */
function brokenCitations(text: string): string[] {
  const sections = text.split(/^#+\s+(?=(?:promise\s+)?\d+\b)/im).slice(1);
  const cited = new Map(sections.map((section) => [Number(/\d+/.exec(section)![0]), citationsIn(section)]));
  return Array.from({ length: 10 }, (_, index) => index + 1).flatMap((promise) => {
    const citations = cited.get(promise) ?? [];
    if (citations.length === 0) return [`promise ${promise} cites no test`];
    return citations.map(faultOf).flatMap((fault) => (fault ? [`promise ${promise}: ${fault}`] : []));
  });
}

type Citation = { file: string; name: string };

function citationsIn(section: string): Citation[] {
  const lines = section.replaceAll(/\n[ \t]+(?=\S)/g, ' ').matchAll(/^\s*[-*]\s+`(test\/[^`]+)`:?\s*(.*)$/gm);
  return [...lines].map(([, file, name]) => ({ file: file!, name: plain(name!).replace(/[.;]$/, '') }));
}

function faultOf({ file, name }: Citation): string | null {
  if (!existsSync(join(ROOT, file))) return `${file} does not exist`;
  const found = name !== '' && plain(readFileSync(join(ROOT, file), 'utf8')).includes(name);
  return found ? null : `${file} has no test "${name}"`;
}

/** Quotes, emphasis and spaces do not count. */
function plain(text: string): string {
  return text
    .replaceAll(/["'“”‘’`*\\]/g, '')
    .replaceAll(/\s+/g, ' ')
    .trim();
}
