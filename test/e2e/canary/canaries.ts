/** Looks for secrets where none may be, in every spelling that they may have taken on the way. */
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { BSON, type MongoClient } from 'mongodb';

/** Name → value. */
export type Canaries = Map<string, string>;

/** What lies in one place, as text. */
export type Place = { where: string; text: string };

/** Makes a secret that is recognised anywhere. */
export function newCanary(canaries: Canaries, name: string): string {
  const value = `canary-${name}-${randomBytes(12).toString('hex')}`;
  canaries.set(name, value);
  return value;
}

/** `<name> in <where>` for each canary that is found. */
export function findCanaries(canaries: Canaries, places: Place[]): string[] {
  const wanted = [...canaries].map(([name, value]) => ({ name, spellings: spellingsOf(value) }));
  return places.flatMap(({ where, text }) =>
    wanted
      .filter(({ spellings }) => spellings.some((spelling) => text.includes(spelling)))
      .map(({ name }) => `${name} in ${where}`),
  );
}

function spellingsOf(value: string): string[] {
  const bytes = Buffer.from(value);
  const hex = bytes.toString('hex');
  return [
    value,
    encodeURIComponent(value),
    hex,
    hex.toUpperCase(),
    [...value].reverse().join(''),
    ...base64InsideOf(bytes),
  ];
}

/** The part that base64 gives a value whatever stands around it: one for each of the three alignments. */
function base64InsideOf(bytes: Buffer): string[] {
  return [0, 1, 2].flatMap((shift) => {
    const text = Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    const inside = text.slice(shift === 0 ? 0 : shift + 1, -2);
    return [inside, inside.replaceAll('+', '-').replaceAll('/', '_')];
  });
}

/** Every document of every collection. */
export async function placesInMongo(client: MongoClient, database: string): Promise<Place[]> {
  const collections = await client.db(database).listCollections().toArray();
  const places = collections.map(async ({ name }) => {
    const documents = await client.db(database).collection(name).find().toArray();
    return documents.map((document) => ({ where: `MongoDB ${name}`, text: BSON.EJSON.stringify(document) }));
  });
  return (await Promise.all(places)).flat();
}

const READERS: Record<string, (redis: Redis, key: string) => Promise<unknown>> = {
  string: (redis, key) => redis.get(key),
  hash: (redis, key) => redis.hgetall(key),
  list: (redis, key) => redis.lrange(key, 0, -1),
  set: (redis, key) => redis.smembers(key),
  zset: (redis, key) => redis.zrange(key, 0, '-1'),
  stream: (redis, key) => redis.xrange(key, '-', '+'),
};

/** Every key with its value. Throws on a type that it cannot read: nothing is passed over. */
export async function placesInRedis(redis: Redis): Promise<Place[]> {
  const places: Place[] = [];
  for await (const keys of redis.scanStream({ count: 1000 })) {
    for (const key of keys as string[]) {
      const type = await redis.type(key);
      // Gone since it was listed.
      if (type === 'none') continue;
      const read = READERS[type];
      if (!read) throw new Error(`there is no reader for the Redis type ${type}`);
      places.push({ where: `Redis ${type}`, text: `${key} ${JSON.stringify(await read(redis, key))}` });
    }
  }
  return places;
}

/** Every file under a directory. */
export function placesInFiles(dir: string): Place[] {
  if (!statSync(dir, { throwIfNoEntry: false })) return [];
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => {
      const path = join(file.parentPath, file.name);
      return { where: `file ${file.name}`, text: `${path}\n${readFileSync(path, 'latin1')}` };
    });
}
