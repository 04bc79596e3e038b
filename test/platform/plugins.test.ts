import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { makePluginLoader } from '../../src/shared/platform/plugins.ts';

type Greeter = {
  readonly name: string;
  readonly about: string;
  readonly tone: 'warm' | 'cold';
  readonly most: number;
  readonly words?: readonly string[];
  greet(): string;
};

const GOOD = `{ name: 'good', about: 'says hello', tone: 'warm', most: 3, greet: () => 'hello' }`;

const root = mkdtempSync(join(tmpdir(), 'keyturn-plugins-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A loader whose folder holds these files, each with its text. */
function loaderOf(files: Record<string, string>) {
  const folder = mkdtempSync(join(root, 'kind-'));
  mkdirSync(join(folder, 'plugins'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, 'plugins', name), text);
  return makePluginLoader<Greeter>({
    kind: 'greeter',
    self: pathToFileURL(join(folder, 'load.mjs')).href,
    shape: {
      about: 'string',
      tone: ['warm', 'cold'],
      most: 'number',
      words: { optional: 'array' },
      greet: 'function',
    },
  });
}

const plugin = (text: string) => `export const plugin = ${text};`;

/** The message with which a folder of one file `odd.mjs` is refused. */
async function refusal(text: string): Promise<string> {
  const error = await loaderOf({ 'odd.mjs': text })
    .all()
    .catch((thrown: Error) => thrown);
  expect(error).toMatchObject({ code: 'config_invalid' });
  return (error as Error).message;
}

describe('a folder of plug-ins', () => {
  test('a plug-in is found by its file being there, and is loaded once', async () => {
    const text = `globalThis.timesLoaded = (globalThis.timesLoaded ?? 0) + 1; ${plugin(GOOD)}`;
    const loader = loaderOf({
      'good.mjs': text,
      'other.mjs': plugin(GOOD.replace("'good'", "'other'")),
      'README.md': '',
      'types.d.ts': '',
    });
    expect(await loader.names()).toEqual(['good', 'other']);
    const [first, second] = await Promise.all([loader.load('good'), loader.load('good')]);
    expect(first).toBe(second);
    expect(first.greet()).toBe('hello');
    expect([...(await loader.all()).keys()]).toEqual(['good', 'other']);
    expect((globalThis as { timesLoaded?: number }).timesLoaded).toBe(1);
  });

  test('a name that is no file is refused with what there is, and never becomes a path', async () => {
    const loader = loaderOf({ 'good.mjs': plugin(GOOD), 'load.mjs': plugin(GOOD) });
    for (const name of ['nosuch', '../load', 'good.mjs', '']) {
      await expect(loader.load(name)).rejects.toThrow('There is no greeter named');
      await expect(loader.load(name)).rejects.toThrow('choose one of: good, load.');
    }
  });
});

describe('a file that is no plug-in of its kind is refused by name, with its fault', () => {
  test.each([
    ['exports nothing', 'export const other = 1;', 'it exports no `plugin`'],
    ['exports no object', plugin('() => {}'), 'it exports no `plugin`'],
    ['has another name than its file', plugin(GOOD), 'its name is "good", the file\'s is "odd"'],
    ['has no name', plugin(GOOD.replace("name: 'good', ", '')), 'its name is undefined, the file\'s is "odd"'],
    ['lacks a function', plugin(odd('greet: () => ', 'greeting: () => ')), '`greet` must be of type function'],
    ['has a text for a number', plugin(odd('most: 3', "most: '3'")), '`most` must be of type number'],
    ['has a word that is none', plugin(odd("'warm'", "'tepid'")), '`tone` must be one of: warm, cold'],
    ['has a wrong optional field', plugin(odd('most: 3', "most: 3, words: 'a'")), 'of type array, or left out'],
    ['does not load', `import 'no-such-package'; ${plugin(GOOD)}`, 'it does not load: Cannot find'],
  ])('one that %s', async (_, text, fault) => {
    const message = await refusal(text);
    expect(message).toMatch(/^The greeter in \S+\/plugins\/odd\.mjs cannot be used: /);
    expect(message).toContain(fault);
  });

  test('all its faults are told at once', async () => {
    const message = await refusal(plugin(`{ name: 'odd', about: 'x', tone: 'warm' }`));
    expect(message).toContain('`most` must be of type number; `greet` must be of type function.');
  });

  test('the good ones beside it can still be loaded', async () => {
    const loader = loaderOf({ 'good.mjs': plugin(GOOD), 'odd.mjs': '' });
    expect((await loader.load('good')).about).toBe('says hello');
    await expect(loader.load('odd')).rejects.toThrow('it exports no `plugin`');
  });
});

/** A plug-in of the right name with one part replaced. */
function odd(part: string, by: string): string {
  return GOOD.replace("'good'", "'odd'").replace(part, by);
}
