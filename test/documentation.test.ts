import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { FLOORS } from '../testkit/floors.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

/** Every page that a reader is sent to. */
const PAGES = ['*.md', 'docs/**/*.md', 'bench/*.md'].flatMap((pattern) => globSync(pattern, { cwd: ROOT })).sort();

const readPage = (page: string) => readFileSync(join(ROOT, page), 'utf8');

/** What stands in backticks within a line. Blocks of code are left out: they show files that the reader is to write. */
function inlineCode(text: string): string[] {
  const prose = text.replace(/^```[\s\S]*?^```/gm, '');
  return [...prose.matchAll(/`([^`]+)`/g)].map(([, code]) => code!.replaceAll(/\s+/g, ' '));
}

const IN_PROJECT = /^(?:src|test|testkit|docs|local|bench|scripts)\//;

/**
 * The project's own paths among the words of the inline code, also those that are arguments of a command. Of a path with a
 * placeholder, `plugins/<name>.ts`, its folder.
 */
function pathsIn(text: string): string[] {
  return inlineCode(text)
    .flatMap((code) => code.split(' '))
    .map((word) => word.replace(/:$/, '').replace(/<.*$/, ''))
    .filter((word) => IN_PROJECT.test(word));
}

function missingPaths(text: string): string[] {
  return pathsIn(text).filter((path) => !isThere(join(ROOT, path)));
}

/** A file, or a folder with a file in it: git keeps no empty folders. */
function isThere(path: string): boolean {
  const isFile = (one: string) => statSync(one, { throwIfNoEntry: false })?.isFile() === true;
  return isFile(path) || globSync('**', { cwd: path }).some((file) => isFile(join(path, file)));
}

/** `src/…/file.ts: name`, one for each name. */
function functionsIn(text: string): { file: string; name: string }[] {
  return inlineCode(text)
    .map((code) => /^(\S+\.ts): (\w+)$/.exec(code))
    .flatMap((match) => (match ? [{ file: match[1]!, name: match[2]! }] : []));
}

/** Those that the file does not declare. */
function missingFunctions(text: string): string[] {
  return functionsIn(text)
    .filter(({ file, name }) => {
      const path = join(ROOT, file);
      const declaration = new RegExp(`^(?:export )?(?:async )?(?:function|const|class) ${name}\\b`, 'm');
      return !existsSync(path) || !declaration.test(readFileSync(path, 'utf8'));
    })
    .map(({ file, name }) => `${file}: ${name}`);
}

/** Targets of relative links, without their anchors. */
function missingLinks(page: string, text: string): string[] {
  return [...text.matchAll(/\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)/g)]
    .map(([, target]) => target!)
    .filter((target) => !existsSync(join(ROOT, dirname(page), target)));
}

const { scripts } = JSON.parse(readPage('package.json')) as { scripts: Record<string, string> };

function missingScripts(text: string): string[] {
  return [...text.matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name!).filter((name) => !(name in scripts));
}

/** The section under a heading of the second level. */
function section(text: string, heading: string): string {
  return text.split(/^## /m).find((part) => part.startsWith(heading)) ?? '';
}

/** The table of the floors, as the list that the code is checked by: lowest first. */
function floorsIn(text: string): string[][] {
  const rows = [...text.matchAll(/^\| (\d+) \| `([^`]+)` \| [^|]+ \| [^|]+ \|$/gm)];
  const floors = Map.groupBy(rows, ([, floor]) => Number(floor));
  return [...floors].sort(([a], [b]) => a - b).map(([, folders]) => folders.map(([, , folder]) => folder!));
}

describe.each(PAGES)('%s', (page) => {
  const text = readPage(page);

  test('every path and link leads somewhere', () => {
    expect(missingPaths(text)).toEqual([]);
    expect(missingLinks(page, text)).toEqual([]);
  });

  test('every script that it names can be run', () => {
    expect(missingScripts(text)).toEqual([]);
  });
});

describe('docs/architecture.md', () => {
  const text = readPage('docs/architecture.md');

  test('its floors are those that the imports are checked by, each with what lives there and why', () => {
    expect(floorsIn(section(text, 'The floors'))).toEqual(FLOORS);
  });

  test('each function on the walk of an event is in the file that is named', () => {
    const walk = section(text, 'One event');
    expect(functionsIn(walk).length).toBeGreaterThan(30);
    expect(missingFunctions(walk)).toEqual([]);
  });

  test('every step says why it stands where it stands', () => {
    const steps = section(text, 'One event').split(/^(?=\d+\. )/m);
    expect(steps.length).toBeGreaterThan(15);
    expect(steps.slice(1).filter((step) => !/\*Why\s+here:\*/.test(step))).toEqual([]);
  });

  test('the table of places has at least twenty rows, each with a path', () => {
    const [, , ...rows] = section(text, 'Where do I find').match(/^\|.*\|$/gm) ?? [];
    expect(rows.length).toBeGreaterThanOrEqual(20);
    expect(rows.filter((row) => pathsIn(row).length === 0)).toEqual([]);
  });
});

test('these checks find what they look for', () => {
  const [gone, real] = ['src/gone.ts', 'src/api/app.ts'];
  expect(missingPaths(`\`${gone}\` and \`npx vitest run test/gone\`, \`${real}\`, \`npm test\``)).toEqual([
    gone,
    'test/gone',
  ]);
  expect(missingPaths('`src/gone/<name>.ts`, `src/api/<name>.ts`')).toEqual(['src/gone/']);
  expect(missingPaths(`\`\`\`ts\n// \`${gone}\`\n\`\`\`\n`)).toEqual([]);
  expect(missingFunctions(`\`${real}: makeApp\`, \`${real}: makeAp\`, \`${gone}: makeApp\``)).toEqual([
    `${real}: makeAp`,
    `${gone}: makeApp`,
  ]);
  expect(missingLinks('docs/a.md', '[a](lifecycle.md#x) [b](gone.md) [c](https://x.example) [d](#e)')).toEqual([
    'gone.md',
  ]);
  expect(missingScripts('npm run bench -- release, npm run gone')).toEqual(['gone']);
  expect(floorsIn('| 2 | `b` | x | y |\n| 2 | `c` | x | y |\n| 1 | `a` | x | y |\n')).toEqual([['a'], ['b', 'c']]);
});
