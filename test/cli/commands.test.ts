import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { COMMANDS } from '../../src/cli/commands.ts';
import { runCommand } from '../../src/cli/run.ts';

/** Runs a command line that needs no configuration; resolves to what it printed. */
async function printed(...args: string[]): Promise<string> {
  const lines: string[] = [];
  const config = () => expect.fail('the configuration was read');
  expect(await runCommand(args, { config, print: (line) => void lines.push(line) })).toBe(0);
  return lines.join('\n');
}

test('every file in commands/ is in the list, under its name, in the order of the names', () => {
  const files = readdirSync(new URL('../../src/cli/commands/', import.meta.url));
  expect(COMMANDS.map(({ noun, verb }) => `${noun}-${verb}.ts`)).toEqual(files.sort());
});

test.each([[], ['help'], ['--help']])('keyturn %s lists every command with what it does', async (...args) => {
  const overview = await printed(...args);
  for (const { noun, verb, about } of COMMANDS) {
    expect(overview).toMatch(new RegExp(`^  ${noun} ${verb} +${about.replaceAll(/[.*+?()]/g, '\\$&')}$`, 'm'));
  }
});

test.each(COMMANDS.map((command) => [`${command.noun} ${command.verb}`, command] as const))(
  '%s --help says what each of its options means',
  async (_, command) => {
    expect(Object.keys(command.meanings).map((meaning) => meaning.split(' ')[0])).toEqual(Object.keys(command.options));
    const help = await printed(command.noun, command.verb, '--help');
    for (const option of Object.keys(command.meanings)) expect(help).toContain(`--${option}`);
  },
);

test('what is no command, and an option that a command does not take, are refused with what to type', async () => {
  const given = { config: () => expect.fail('the configuration was read'), print: () => {} };
  for (const args of [['keys'], ['keys', 'forget'], ['keys', 'status', '--no-such'], ['keys', 'status', 'ten_a']]) {
    await expect(runCommand(args, given)).rejects.toMatchObject({
      code: 'invalid_request',
      message: expect.stringContaining('Usage: keyturn'),
    });
  }
});
