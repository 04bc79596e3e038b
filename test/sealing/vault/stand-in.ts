import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readBody, serveOnLoopback } from '../../../local/tools/loopback.ts';
import type { RawReply } from './raw-call.ts';
import { recorded, recordedWith } from './recorded.ts';

/**
 * A local stand-in for Vault, for machines without one: it keeps keys and values in memory and answers with the replies
 * that were recorded from a real Vault (`test/fixtures/vault`). What it does is what the scenarios there showed.
 */
export type VaultStandIn = { address: string; token: string; ours: true; stop(): Promise<void> };

type Body = Record<string, unknown>;
type Call = { path: string; body: Body };
type TransitKey = { derived: boolean; type: string; minVersion: number; versions: Buffer[] };
type State = { transit: Map<string, TransitKey>; kv: Map<string, { jwe: unknown; deleted: boolean }> };
type Route = [method: string, path: RegExp, answer: (state: State, match: string[], call: Call) => RawReply];

const DONE: RawReply = { status: 204, headers: {}, body: '' };
const ROOT = 'stand-in';

const ROUTES: Route[] = [
  ['POST', /^sys\/mounts\/\S+$/, () => DONE],
  ['GET', /^auth\/token\/lookup-self$/, () => recorded('token-lookup-root')],
  ['POST', /^(.+)\/keys\/([^/]+)$/, (state, [, mount, name], { body }) => makeKey(state, `${mount}/${name}`, body)],
  ['GET', /^(.+)\/keys\/([^/]+)$/, (state, [, mount, name]) => showKey(state.transit.get(`${mount}/${name}`))],
  [
    'POST',
    /^(.+)\/keys\/([^/]+)\/rotate$/,
    (state, [, mount, name]) => rotateKey(state.transit.get(`${mount}/${name}`)),
  ],
  [
    'POST',
    /^(.+)\/keys\/([^/]+)\/config$/,
    (state, [, mount, name], { body }) => {
      state.transit.get(`${mount}/${name}`)!.minVersion = Number(body.min_decryption_version);
      return DONE;
    },
  ],
  [
    'POST',
    /^(.+)\/encrypt\/([^/]+)$/,
    (state, [, mount, name], { body }) => encrypt(state.transit.get(`${mount}/${name}`), body),
  ],
  [
    'POST',
    /^(.+)\/decrypt\/([^/]+)$/,
    (state, [, mount, name], { body }) => decrypt(state.transit.get(`${mount}/${name}`), body),
  ],
  ['GET', /^[^/]+\/config$/, () => recorded('kv-config')],
  ['POST', /^([^/]+)\/data\/(.+)$/, (state, [, mount, path], { body }) => writeValue(state, `${mount}/${path}`, body)],
  ['GET', /^([^/]+)\/data\/(.+)$/, (state, [, mount, path]) => readValue(state.kv.get(`${mount}/${path}`))],
  [
    'GET',
    /^([^/]+)\/metadata\/(.*)\?list=true$/,
    (state, [, mount, folder]) => listValues(state, `${mount}/${folder}`),
  ],
  [
    'DELETE',
    /^([^/]+)\/data\/(.+)$/,
    (state, [, mount, path]) => {
      state.kv.get(`${mount}/${path}`)!.deleted = true;
      return DONE;
    },
  ],
  [
    'DELETE',
    /^([^/]+)\/metadata\/(.+)$/,
    (state, [, mount, path]) => {
      state.kv.delete(`${mount}/${path}`);
      return DONE;
    },
  ],
];

/** Starts it on a free port of loopback. */
export async function startVaultStandIn(): Promise<VaultStandIn> {
  const state: State = { transit: new Map(), kv: new Map() };
  const { url, stop } = await serveOnLoopback(async (request, response) => {
    const body = await readJson(request);
    const isOurs = request.headers['x-vault-token'] === ROOT;
    send(response, isOurs ? answer(state, request, body) : recorded('token-invalid'));
  });
  return { address: url, token: ROOT, ours: true, stop };
}

/** A server that gives one recorded reply to everything, or to the paths for which `pick` gives its name. */
export async function startReplying(
  pick: (method: string, path: string) => RawReply,
): Promise<{ address: string; stop(): Promise<void> }> {
  const { url, stop } = await serveOnLoopback(async (request, response) => {
    await readBody(request);
    send(response, pick(request.method!, request.url!.slice('/v1/'.length)));
  });
  return { address: url, stop };
}

function answer(state: State, request: IncomingMessage, body: Body): RawReply {
  const path = request.url!.slice('/v1/'.length);
  for (const [method, pattern, reply] of ROUTES) {
    const match = method === request.method && pattern.exec(path);
    if (match) return reply(state, match, { path, body });
  }
  return recorded('no-such-mount');
}

function makeKey(state: State, id: string, { derived, type }: Body): RawReply {
  const key = {
    derived: derived === true,
    type: String(type ?? 'aes256-gcm96'),
    minVersion: 1,
    versions: [randomBytes(32)],
  };
  state.transit.set(id, key);
  return showKey(key);
}

function showKey(key: TransitKey | undefined): RawReply {
  if (!key) return recorded('transit-key-missing');
  return recordedWith('transit-key', { derived: key.derived, type: key.type, latest_version: key.versions.length });
}

function rotateKey(key: TransitKey | undefined): RawReply {
  key!.versions.push(randomBytes(32));
  return showKey(key);
}

function encrypt(key: TransitKey | undefined, body: Body): RawReply {
  if (key!.derived && body.context === undefined) return recorded('transit-encrypt-no-context');
  const version = key!.versions.length;
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', keyFor(key!, version, body), iv).setAAD(aadOf(body));
  const sealed = [iv, cipher.update(String(body.plaintext), 'base64'), cipher.final(), cipher.getAuthTag()];
  const ciphertext = `vault:v${version}:${Buffer.concat(sealed).toString('base64')}`;
  return recordedWith('transit-encrypt', { ciphertext, key_version: version });
}

function decrypt(key: TransitKey | undefined, body: Body): RawReply {
  if (!key) return recorded('transit-decrypt-key-missing');
  const [, version, text] = /^vault:v(\d+):(.*)$/.exec(String(body.ciphertext)) ?? [];
  if (Number(version) > key.versions.length) return recorded('transit-decrypt-too-new');
  if (Number(version) < key.minVersion) return recorded('transit-decrypt-too-old');
  const bytes = Buffer.from(text ?? '', 'base64');
  if (bytes.length < 28) return recorded('transit-decrypt-malformed');
  try {
    const decipher = createDecipheriv('aes-256-gcm', keyFor(key, Number(version), body), bytes.subarray(0, 12));
    decipher.setAAD(aadOf(body)).setAuthTag(bytes.subarray(-16));
    const plain = Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]);
    return recordedWith('transit-decrypt', { plaintext: plain.toString('base64') });
  } catch {
    return recorded('transit-decrypt-altered');
  }
}

function keyFor(key: TransitKey, version: number, body: Body): Buffer {
  const root = key.versions[version - 1]!;
  return key.derived ? createHmac('sha256', root).update(String(body.context)).digest() : root;
}

function aadOf(body: Body): Buffer {
  return Buffer.from(String(body.associated_data ?? ''), 'base64');
}

function writeValue(state: State, path: string, body: Body): RawReply {
  const { cas } = (body.options ?? {}) as { cas?: number };
  if (cas === 0 && state.kv.has(path)) return recorded('kv-cas-mismatch');
  state.kv.set(path, { jwe: (body.data as Body).jwe, deleted: false });
  return recorded('kv-write');
}

function readValue(value: { jwe: unknown; deleted: boolean } | undefined): RawReply {
  if (!value) return recorded('kv-missing');
  return value.deleted ? recorded('kv-read-deleted') : recordedWith('kv-read', { data: { jwe: value.jwe } });
}

function listValues(state: State, prefix: string): RawReply {
  const below = [...state.kv.keys()].filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length));
  const keys = new Set(below.map((path) => path.replace(/\/.*$/, '/')));
  return keys.size === 0 ? recorded('kv-missing') : recordedWith('kv-list', { keys: [...keys] });
}

async function readJson(request: IncomingMessage): Promise<Body> {
  const text = await readBody(request);
  return text === '' ? {} : JSON.parse(text);
}

function send(response: ServerResponse, { status, headers, body }: RawReply): void {
  response.writeHead(status, headers).end(body);
}
