import { type Config, parseConfig } from '../shared/platform/config/parse.ts';
import { AppError } from '../shared/platform/errors.ts';
import { startTelemetry, type Telemetry } from '../shared/platform/telemetry.ts';

/** The API process. Telemetry is first: what it watches is patched as it loads, so the rest is imported after it. */
async function main(): Promise<void> {
  const config: Config = parseConfig(process.env);
  const telemetry: Telemetry = await startTelemetry({
    endpoint: process.env.OTEL_EXPORTER_OTLP_ENDPOINT,
    serviceName: process.env.OTEL_SERVICE_NAME ?? 'keyturn-api',
  });
  const { runApi } = await import('./run.ts');
  const stopping = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stopping.abort());
  try {
    await runApi(config, stopping.signal, { showKey: (key) => process.stdout.write(`KEYTURN_ADMIN_KEY=${key}\n`) });
  } finally {
    await telemetry.close();
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof AppError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
