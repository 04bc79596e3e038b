import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { MongoBulkWriteError, MongoNetworkError, MongoServerError, MongoServerSelectionError } from 'mongodb';
import { describe, expect, test } from 'vitest';
import { isDuplicateKey, isStoreAway } from '../../src/shared/platform/driver-errors.ts';
import { AppError, toAppError } from '../../src/shared/platform/errors.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const server = (code: number, labels: string[] = []) => {
  const error = new MongoServerError({ message: 'no', code });
  for (const label of labels) error.addErrorLabel(label);
  return error;
};

const bulk = (...codes: number[]) =>
  new MongoBulkWriteError(
    { message: 'bulk', code: codes[0] ?? 64, writeErrors: codes.map((code) => ({ code })) } as never,
    {} as never,
  );

describe('what the driver throws', () => {
  test.each([
    ['a cut connection', new MongoNetworkError('reset'), 'store_unavailable'],
    ['a server that is not found', new MongoServerSelectionError('none', {} as never), 'store_unavailable'],
    ['a primary that steps down', server(189), 'store_unavailable'],
    ['a transaction that may be tried again', server(1, ['TransientTransactionError']), 'store_unavailable'],
    ['a bulk write that no majority has confirmed', bulk(), 'store_unavailable'],
    ['a refusal', server(2), 'internal'],
    ['a duplicate', server(11000), 'internal'],
    ['a bulk write with a duplicate', bulk(11000), 'internal'],
    ['something else', new Error('boom'), 'internal'],
    ['no error at all', 'boom', 'internal'],
  ])('%s', (_, error, code) => {
    expect(toAppError(error)).toMatchObject({ code, cause: error });
  });

  test('an AppError stays what it is; only failures of the driver are judged', () => {
    const error = new AppError('not_found');
    expect(toAppError(error)).toBe(error);
    expect(isStoreAway(error)).toBeUndefined();
    expect(isStoreAway(server(2))).toBe(false);
  });

  test('a duplicate is told, alone and inside a bulk write', () => {
    expect(isDuplicateKey(server(11000))).toBe(true);
    expect(isDuplicateKey(bulk(1, 11000))).toBe(true);
    expect(isDuplicateKey(server(2))).toBe(false);
    expect(isDuplicateKey(bulk(2))).toBe(false);
    expect(isDuplicateKey(Object.assign(new Error('x'), { code: 11000 }))).toBe(false);
  });
});

test('errors load no driver: telemetry patches it as it loads, and comes later', async () => {
  const script = `
    import { registerHooks } from 'node:module';
    const loaded = [];
    registerHooks({ load: (url, context, next) => { loaded.push(url); return next(url, context); } });
    await import('./src/shared/platform/config/parse.ts');
    await import('./src/shared/platform/log.ts');
    await import('./src/shared/platform/telemetry.ts');
    console.log(loaded.length > 10, loaded.filter((url) => /node_modules\\/(mongodb|ioredis|bullmq)\\//.test(url)).length);`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script], { cwd: ROOT });
  expect(stdout.trim()).toBe('true 0');
});
