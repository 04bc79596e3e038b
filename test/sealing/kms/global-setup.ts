import type { TestProject } from 'vitest/node';
import './context.ts';
import { startMoto } from './moto.ts';

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const moto = await startMoto(process.env, (line) => process.stderr.write(`keyturn: ${line}\n`));
  project.provide('kmsEndpoint', moto.endpoint);
  return () => moto.stop();
}
