import { parseConfig } from '../shared/platform/config/parse.ts';
import { toAppError } from '../shared/platform/errors.ts';
import { makeLog } from '../shared/platform/log.ts';
import { startTelemetry } from '../shared/platform/telemetry.ts';

/** The workers' process. Telemetry is first: what it watches is patched as it loads, so the rest is imported after it. */
async function main(): Promise<void> {
  const config = parseConfig(process.env);
  const telemetry = await startTelemetry({
    endpoint: process.env.OTEL_EXPORTER_OTLP_ENDPOINT,
    serviceName: process.env.OTEL_SERVICE_NAME ?? 'keyturn-workers',
  });
  const { runWorkers } = await import('./run.ts');
  const stopping = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stopping.abort());
  try {
    await runWorkers(config, stopping.signal);
  } finally {
    await telemetry.close();
  }
}

main().catch((thrown) => {
  const err = toAppError(thrown);
  if (err.code !== 'config_invalid') makeLog('error', { process: 'workers' }).fatal({ err }, 'cannot start');
  process.stderr.write(`${err.message}\n`);
  process.exit(1);
});
