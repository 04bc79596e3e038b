import { AppError } from '../../platform/errors.ts';
import { makePluginLoader } from '../../platform/plugins.ts';
import type { SinkPlugin } from './contract.ts';

const { names, load } = makePluginLoader<SinkPlugin>({
  kind: 'sink',
  self: import.meta.url,
  shape: {
    about: 'string',
    settings: 'function',
    secret: ['generated', 'given', 'none'],
    batchSize: 'number',
    concurrency: 'number',
    takes: { optional: 'array' },
    create: 'function',
  },
});

/** Names of the sinks that there are: the files in `plugins/`. */
export const sinkNames = names;

/** The sink of that name. Throws `invalid_request`, naming what there is: a caller chose the name. */
export async function loadSink(name: string): Promise<SinkPlugin> {
  const all = await names();
  if (all.includes(name)) return load(name);
  throw new AppError('invalid_request', {
    detail: `There is no sink "${name}"; choose one of: ${all.join(', ')}.`,
  });
}
