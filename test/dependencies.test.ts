import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

type Package = { dependencies: Record<string, string>; devDependencies: Record<string, string> };
type Lock = { packages: Record<string, Partial<Package> & { version?: string; dev?: boolean }> };

const { dependencies, devDependencies } = readJson<Package>('package.json');
const lock = readJson<Lock>('package-lock.json');

/** Node itself, for machines without a recent one; the image has its own. */
const NOT_IMPORTED = ['node'];

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as T;
}

/** The packages that the files below a folder import, at once or later: `@scope/name` or `name`. */
function importedFrom(folder: string): Set<string> {
  const files = readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' });
  const sources = files.filter((file) => file.endsWith('.ts')).map((file) => join(folder, file));
  return new Set(sources.flatMap((file) => packagesIn(readFileSync(join(ROOT, file), 'utf8'))));
}

/** Statements begin a line, or end one that began with a brace; `import()` stands anywhere. */
const IMPORTS = [
  /^import '([^'.][^'\n]*)'/gm,
  /^(?:import|export|\})[^'\n]* from '([^'.][^'\n]*)'/gm,
  /\bimport\(\s*'([^'.][^'\n]*)'/g,
];

function packagesIn(code: string): string[] {
  return IMPORTS.flatMap((form) => [...code.matchAll(form)].map(([, specifier]) => specifier!))
    .filter((specifier) => !isBuiltin(specifier))
    .map((specifier) => specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/'));
}

test('the image holds what the source imports, and no package beside it', () => {
  expect([...importedFrom('src'), ...NOT_IMPORTED].sort()).toEqual(Object.keys(dependencies).sort());
});

test('what the tests, the benches and the local start import beside it is installed for development', () => {
  const known = { ...dependencies, ...devDependencies };
  for (const folder of ['local', 'testkit', 'test', 'bench', 'scripts']) {
    expect([...importedFrom(folder)].filter((name) => !(name in known))).toEqual([]);
  }
});

test('the lock file agrees on what is for development only, and on every version', () => {
  const { packages } = lock;
  expect(packages['']).toMatchObject({ dependencies, devDependencies });
  for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
    expect(packages[`node_modules/${name}`], name).toMatchObject({ version });
  }
});

test('an import of any form is seen', () => {
  const code = [
    "import { a } from 'zod';",
    "import {\n  b,\n} from '@scope/one/deep.js';",
    "export * from 'again';",
    "import 'bare';",
    "const { c } = await import('yaml/sub');",
    "import fs from 'node:fs';",
    "import { d } from './own.ts';",
    'const text = "we come from \'nowhere\'";',
  ];
  expect(packagesIn(code.join('\n'))).toEqual(['bare', 'zod', '@scope/one', 'again', 'yaml']);
});
