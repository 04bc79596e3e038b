import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { VARIABLES } from '../src/shared/platform/config/variables.ts';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

type Service = {
  image: string;
  command: string[];
  user?: string;
  read_only?: boolean;
  tmpfs?: string[];
  cap_drop?: string[];
  security_opt?: string[];
  healthcheck?: { test: string[] };
  depends_on?: Record<string, { condition: string }>;
  environment?: Record<string, string>;
  networks: string[];
  volumes?: string[];
  ports?: string[];
  container_name?: string;
};

const compose = parse(read('../docker-compose.yml'), { merge: true }) as {
  services: Record<string, Service>;
  networks: Record<string, { internal?: boolean }>;
  volumes: Record<string, object>;
};
const { api, workers, mongo, redis } = compose.services as Record<'api' | 'workers' | 'mongo' | 'redis', Service>;
const dockerfile = read('../Dockerfile');

/** compose-spec.json is the Compose specification's own schema (Apache-2.0), in the version of October 2026. */
function validator() {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats.default(ajv);
  return ajv.compile(JSON.parse(read('./fixtures/compose-spec.json')));
}

test('docker-compose.yml is valid by the Compose specification', () => {
  const validate = validator();
  expect(validate(compose), JSON.stringify(validate.errors, null, 2)).toBe(true);
});

test('the schema refuses a mistyped field', () => {
  const validate = validator();
  expect(validate({ services: { api: { image: 'x', read_onli: true } } })).toBe(false);
});

test.each(Object.entries(compose.services))(
  '%s runs without root, rights, or a writable root filesystem',
  (_, service) => {
    expect(service.user).toMatch(/^(node|mongodb|redis)$/);
    expect(service).toMatchObject({ read_only: true, cap_drop: ['ALL'], security_opt: ['no-new-privileges:true'] });
    expect(service.tmpfs).toContain('/tmp');
  },
);

test('api and workers are one image, and wait for healthy servers', () => {
  expect(api.image).toBe(workers.image);
  for (const service of [api, workers]) {
    expect(service.depends_on?.mongo?.condition).toBe('service_healthy');
    expect(service.depends_on?.redis?.condition).toBe('service_healthy');
    expect(service.volumes).toContain('data:/var/lib/keyturn');
  }
  expect(mongo.healthcheck?.test.join(' ')).toContain('rs.initiate');
  expect(redis.healthcheck).toBeDefined();
});

test('workers scale: nothing of theirs can exist only once', () => {
  expect(workers.ports).toBeUndefined();
  expect(workers.container_name).toBeUndefined();
});

test('mongo is the replica set that the processes look for', () => {
  expect(mongo.command).toContain('--replSet');
  expect(api.environment?.MONGODB_URI).toContain('replicaSet=keyturn');
});

test('redis forgets nothing of its own accord', () => {
  const command = redis.command.join(' ');
  expect(command).toContain('--appendonly yes --appendfsync everysec');
  expect(command).toContain('--maxmemory-policy noeviction');
});

test('the databases are reached from inside only, the API from this machine only', () => {
  for (const service of [mongo, redis]) {
    expect(service.ports).toBeUndefined();
    expect(service.networks).toEqual(['internal']);
  }
  expect(compose.networks.internal?.internal).toBe(true);
  expect(api.ports).toEqual(['127.0.0.1:8080:8080']);
});

test('every variable that the image and compose set is one that Keyturn knows', () => {
  const set = [...dockerfile.matchAll(/KEYTURN_[A-Z_]+(?==)/g)].map(([name]) => name);
  const named = [...set, ...Object.keys({ ...api.environment, ...workers.environment })];
  const known = Object.values(VARIABLES).map(({ name }) => name as string);
  for (const name of named) expect(known).toContain(name.replace(/_FILE$/, ''));
});

test('the image runs as node and holds no key and no test', () => {
  expect(dockerfile).toMatch(/^USER node$/m);
  expect(read('../.dockerignore').split('\n')[0]).toBe('*');
});
