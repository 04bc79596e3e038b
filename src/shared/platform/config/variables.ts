/**
 * Every variable that Keyturn reads: one row each. README's table is made from it (a test compares them). The key is the name
 * in the code and says the unit of the value: `config.leaseMs` is KEYTURN_LEASE_SECONDS in milliseconds.
 */
import { z } from 'zod';
import { flag, identifier, integer, list, seconds, secret, text } from './parsers.ts';

type Row = {
  /** Of the environment variable; `<name>_FILE` gives it by a file. */
  name: string;
  /** From the text of the variable. */
  parse: z.ZodType;
  required?: true;
  /** As text. A row with neither `required` nor a default may be left out. */
  default?: string;
  secret?: true;
  /** For the documentation: what it decides, in one line. */
  about: string;
};

export const VARIABLES = {
  mongodbUri: { name: 'MONGODB_URI', parse: text, required: true, about: 'MongoDB replica set (6.0 or newer)' },
  redisUrl: {
    name: 'REDIS_URL',
    parse: text,
    required: true,
    about: 'Redis 7 or Valkey with `maxmemory-policy noeviction`',
  },
  databaseName: { name: 'KEYTURN_DATABASE', parse: identifier, default: 'keyturn', about: 'name of the database' },
  queuePrefix: {
    name: 'KEYTURN_QUEUE_PREFIX',
    parse: identifier,
    default: 'keyturn',
    about: 'prefix of all Redis keys',
  },
  host: {
    name: 'KEYTURN_HOST',
    parse: text,
    default: '127.0.0.1',
    about: 'address that the API listens on, and workers with a port',
  },
  port: {
    name: 'KEYTURN_PORT',
    parse: integer(0, 65535),
    default: '8080',
    about: 'port of the API; 0 takes a free one',
  },
  workersPort: {
    name: 'KEYTURN_WORKERS_PORT',
    parse: integer(0, 65535),
    about: 'port on which workers serve `/metrics` and `/healthz`; off unless set, 0 takes a free one',
  },
  publicUrl: {
    name: 'KEYTURN_PUBLIC_URL',
    parse: z.url().transform((u) => u.replace(/\/$/, '')),
    about: 'how browsers and providers reach the API; by default `http://<host>:<port>`',
  },
  trustedProxies: {
    name: 'KEYTURN_TRUST_PROXY',
    parse: list,
    default: '',
    about: 'comma-separated addresses of proxies whose X-Forwarded-For counts',
  },
  keyProvider: {
    name: 'KEYTURN_KEY_PROVIDER',
    parse: text,
    default: 'local',
    about: 'who holds the root key: `local`, `vault`, `aws-kms`',
  },
  rootKeys: {
    name: 'KEYTURN_ROOT_KEYS',
    parse: secret,
    secret: true,
    about: 'local key provider: base64 keys of 32 bytes, comma or line separated; the first wraps, all unwrap',
  },
  stagedRootKeys: {
    name: 'KEYTURN_ROOT_KEYS_STAGED',
    parse: secret,
    secret: true,
    about: 'local key provider: keys that unwrap but never wrap yet',
  },
  keyCacheMs: {
    name: 'KEYTURN_KEY_CACHE_SECONDS',
    parse: seconds,
    default: '300',
    about: 'how long an unwrapped data key stays in memory',
  },
  keyGraceMs: {
    name: 'KEYTURN_KEY_GRACE_SECONDS',
    parse: seconds,
    default: '3600',
    about: 'how long cached data keys go on while the key provider is down',
  },
  keyRefreshMs: {
    name: 'KEYTURN_KEY_REFRESH_SECONDS',
    parse: seconds,
    default: '30',
    about: 'how soon every process notices a new data key; the same for all, a rotation waits twice as long',
  },
  resealPerSecond: {
    name: 'KEYTURN_RESEAL_PER_SECOND',
    parse: integer(1, 1_000_000),
    default: '2000',
    about: 'values that a rotation of keys seals anew in a second',
  },
  vaultAddress: { name: 'KEYTURN_VAULT_ADDR', parse: z.url(), about: 'Vault or OpenBao: base URL' },
  vaultToken: { name: 'KEYTURN_VAULT_TOKEN', parse: secret, secret: true, about: 'Vault: token' },
  vaultTokenPath: {
    name: 'KEYTURN_VAULT_TOKEN_PATH',
    parse: text,
    about: 'Vault: file with a token that somebody else keeps fresh, read again and again',
  },
  vaultRoleId: { name: 'KEYTURN_VAULT_ROLE_ID', parse: text, about: 'Vault: AppRole role id' },
  vaultSecretId: { name: 'KEYTURN_VAULT_SECRET_ID', parse: secret, secret: true, about: 'Vault: AppRole secret id' },
  vaultNamespace: { name: 'KEYTURN_VAULT_NAMESPACE', parse: text, about: 'Vault: namespace' },
  vaultTransitKey: {
    name: 'KEYTURN_VAULT_TRANSIT_KEY',
    parse: text,
    default: 'keyturn',
    about: 'Vault: name of the transit key',
  },
  vaultTransitMount: {
    name: 'KEYTURN_VAULT_TRANSIT_MOUNT',
    parse: text,
    default: 'transit',
    about: 'Vault: mount of the transit engine',
  },
  vaultKvMount: {
    name: 'KEYTURN_VAULT_KV_MOUNT',
    parse: text,
    default: 'secret',
    about: 'Vault: mount of the KV v2 engine',
  },
  awsKmsKeyId: { name: 'KEYTURN_AWS_KMS_KEY_ID', parse: text, about: 'AWS KMS: key id, ARN or alias' },
  awsKmsEndpoint: {
    name: 'KEYTURN_AWS_KMS_ENDPOINT',
    parse: z.url(),
    about: 'AWS KMS: endpoint in place of the regional one',
  },
  secretStore: {
    name: 'KEYTURN_SECRET_STORE',
    parse: text,
    default: 'mongodb',
    about: 'where sealed secrets live: `mongodb`, `file`, `vault`',
  },
  secretDir: {
    name: 'KEYTURN_SECRET_DIR',
    parse: text,
    default: '.keyturn/secrets',
    about: 'file store: its directory',
  },
  journalDir: {
    name: 'KEYTURN_JOURNAL_DIR',
    parse: text,
    default: '.keyturn/journal',
    about: 'where workers keep sealed provider replies until they are committed',
  },
  queues: {
    name: 'KEYTURN_QUEUES',
    parse: list,
    default: '',
    about: 'comma-separated queues that this worker serves; empty is all',
  },
  queuePartitions: {
    name: 'KEYTURN_QUEUE_PARTITIONS',
    parse: integer(1, 256),
    default: '1',
    about: 'partitions of each queue (by credential id); the same for every process',
  },
  refreshConcurrency: {
    name: 'KEYTURN_REFRESH_CONCURRENCY',
    parse: integer(1, 200),
    default: '32',
    about: 'refresh jobs (of up to 50 credentials) that a worker handles at once',
  },
  refreshMarginMs: {
    name: 'KEYTURN_REFRESH_MARGIN_SECONDS',
    parse: seconds,
    default: '60',
    about: 'refresh at the latest this long before expiry',
  },
  leaseMs: {
    name: 'KEYTURN_LEASE_SECONDS',
    parse: seconds,
    default: '30',
    about: 'how long a worker may hold a credential without renewing',
  },
  sweepPauseMs: {
    name: 'KEYTURN_SWEEP_SECONDS',
    parse: seconds,
    default: '1',
    about: 'pause between two looks at what is due',
  },
  callTimeoutMs: {
    name: 'KEYTURN_CALL_TIMEOUT_SECONDS',
    parse: seconds,
    default: '10',
    about: 'bound of one call to a provider or subscriber',
  },
  drainMs: {
    name: 'KEYTURN_DRAIN_SECONDS',
    parse: seconds,
    default: '25',
    about: 'how long SIGTERM waits for work in hand',
  },
  rateLimitPerMinute: {
    name: 'KEYTURN_RATE_LIMIT_PER_MINUTE',
    parse: integer(1, 10_000_000),
    default: '6000',
    about: 'requests per principal and minute, in each API process',
  },
  jwtIssuer: {
    name: 'KEYTURN_JWT_ISSUER',
    parse: z.url(),
    about: 'issuer whose JWTs are taken in place of API keys; off unless set',
  },
  jwtAudience: { name: 'KEYTURN_JWT_AUDIENCE', parse: text, about: 'what the `aud` of such a JWT must name' },
  backlogLimit: {
    name: 'KEYTURN_BACKLOG_LIMIT',
    parse: integer(1, 100_000_000),
    default: '100000',
    about: 'unsettled events of a tenant beyond which intake answers 429',
  },
  maxRevocationsPerAlert: {
    name: 'KEYTURN_MAX_REVOCATIONS_PER_ALERT',
    parse: integer(0, 100_000),
    default: '25',
    about: 'automatic revocations that one alert may cause',
  },
  checkpointDir: {
    name: 'KEYTURN_CHECKPOINT_DIR',
    parse: text,
    about: 'directory outside the database that signed checkpoints are also written to',
  },
  checkpointAfterMs: {
    name: 'KEYTURN_CHECKPOINT_SECONDS',
    parse: seconds,
    default: '60',
    about: 'entries of the log are under a signed checkpoint after so long',
  },
  ocsfDir: {
    name: 'KEYTURN_OCSF_DIR',
    parse: text,
    default: '.keyturn/ocsf',
    about: 'directory of the ocsf-jsonl sink',
  },
  githubPartnerKeysUrl: {
    name: 'KEYTURN_GITHUB_PARTNER_KEYS_URL',
    parse: z.url(),
    default: 'https://api.github.com/meta/public_keys/secret_scanning',
    about: 'public keys of the GitHub partner programme',
  },
  allowPrivateWebhooks: {
    name: 'KEYTURN_ALLOW_PRIVATE_WEBHOOKS',
    parse: flag,
    default: 'false',
    about: 'lets webhooks go to loopback and private addresses (tests, sandboxes)',
  },
  bootstrapKey: {
    name: 'KEYTURN_BOOTSTRAP_KEY',
    parse: secret,
    secret: true,
    about: 'admin key to create at the first start in place of a generated one',
  },
  serviceNames: {
    name: 'KEYTURN_PROVIDERS',
    parse: list,
    default: '',
    about: 'comma-separated services, each set up by `KEYTURN_PROVIDER_<SERVICE>_…`',
  },
  logLevel: {
    name: 'KEYTURN_LOG_LEVEL',
    parse: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']),
    default: 'info',
    about: 'trace, debug, info, warn, error',
  },
} as const satisfies Record<string, Row>;

export type Variables = typeof VARIABLES;
