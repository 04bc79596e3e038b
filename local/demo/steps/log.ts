import { until } from '../../../testkit/until.ts';
import { check } from '../stage/check.ts';
import type { Story } from '../stage/contract.ts';
import type { World } from '../stage/world.ts';

/** `keyturn audit verify`, as an operator runs it. */
export async function verify(world: World): Promise<string[]> {
  const { code, output } = await world.keyturn('audit', 'verify');
  check(code === 0, `the log to be whole, but:\n${output}`);
  return output.split('\n').filter((line) => line.includes(': whole'));
}

/** Someone with access to MongoDB makes the release of the leaked token look like somebody else's. */
export async function tamper(world: World, { credentialId }: Story): Promise<string[]> {
  const audit = world.mongo.db(world.database).collection<{ _id: string; seq: number }>('audit');
  const where = { type: 'credential.accessed', credentialId };
  const entry = await until(() => audit.findOne(where), { what: 'an access on the chain' });
  await audit.updateOne({ _id: entry._id }, { $set: { 'actor.id': 'prn_somebody_else' } });
  const { code, output } = await world.keyturn('audit', 'verify');
  check(code === 1 && output.includes(entry._id), `the verifier to name ${entry._id}, but:\n${output}`);
  const verdict = output.split('\n').filter((line) => line.includes(entry._id));
  return [`entry ${entry.seq} now says that somebody else had the token`, ...verdict.map((line) => line.trim())];
}
