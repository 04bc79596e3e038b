/** Run by file-store.test.ts: puts one value after another and prints the id of each that was acknowledged. */
import { systemClock } from '../../../src/shared/platform/clock.ts';
import type { Config } from '../../../src/shared/platform/config/parse.ts';
import { systemRandom } from '../../../src/shared/platform/random.ts';
import { plugin } from '../../../src/shared/sealing/secret-stores/plugins/file.ts';

const [dir, round] = process.argv.slice(2);
const store = plugin.create({ secretDir: dir } as Config, { clock: systemClock, random: systemRandom });
for (let i = 0; ; i += 1) {
  const objectId = `cred${round}-${i}`;
  const context = { tenantId: 'ten_a', objectId, generation: 1 };
  await store.put([{ context, sealed: { jwe: objectId.repeat(500), keyVersion: 1 } }]);
  process.stdout.write(`${objectId}\n`);
}
