import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { type BrowserContext, chromium } from 'playwright-core';
import { aptInstall } from '../../local/tools/apt.ts';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
const MAC = '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome';

/** Nothing but what a page asks for goes over the network. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** A real browser with an empty profile: a person of its own. */
export async function openChromium(): Promise<{ context: BrowserContext; close(): Promise<void> }> {
  const profile = mkdtempSync(join(tmpdir(), 'keyturn-chromium-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: await findChromium(),
    headless: true,
    args: FLAGS,
  });
  return {
    context,
    close: async () => {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

/** On PATH, or installed when we are root on Debian or Ubuntu. Throws one sentence that says what to install. */
async function findChromium(): Promise<string> {
  const found = search();
  if (found) return found;
  await aptInstall('chromium', process.env, (line) => process.stderr.write(`keyturn: ${line}\n`));
  const installed = search();
  if (installed) return installed;
  throw new Error('The tests of pages need a browser: install Chromium (Debian: apt-get install chromium).');
}

function search(): string | undefined {
  const dirs = [...(process.env.PATH ?? '').split(delimiter), '/usr/bin'];
  const paths = dirs.flatMap((dir) => NAMES.map((name) => join(dir, name)));
  return [...paths, MAC].find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
