/** Run by download.ts: downloads mongod into the folder of the first argument and prints its path. */
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MongoBinary } from 'mongodb-memory-server-core/lib/util/MongoBinary.js';

const [downloadDir] = process.argv.slice(2);
if (downloadDir === undefined) throw new Error('usage: download-child.ts FOLDER');
const found = await MongoBinary.getPath({ downloadDir });
// The library looks into its own cache first; what it finds there stays there.
const path = found.startsWith(downloadDir) ? found : join(downloadDir, 'mongod');
if (path !== found) await copyFile(found, path);
console.log(`\nmongod: ${path}`);
