import { createHash, createHmac, timingSafeEqual, verify } from 'node:crypto';
import { z } from 'zod';
import { Secret } from '../../../../platform/secret.ts';
import {
  type AlertDelivery,
  type AlertSourcePlugin,
  parseJson,
  plainAnswer,
  plainUrl,
  type ReportedLeak,
  refuse,
  type VerifiedDelivery,
} from '../contract.ts';
import { makeGithubKeys } from '../github-keys.ts';

/**
 * GitHub secret scanning, in both of its formats: the webhook of a repository or organisation, signed with the secret of
 * the tenant's source, and the partner programme, signed with a key that GitHub publishes.
 */
export const plugin: AlertSourcePlugin = {
  name: 'github',
  about: 'GitHub secret scanning: the `secret_scanning_alert` webhook, and the partner programme at the shared address',
  newSecret: (random) => new Secret(random.bytes(32).toString('base64url')),
  create: ({ config, clock }) => {
    const keys = makeGithubKeys(config.githubPartnerKeysUrl, clock);
    return {
      verify: async (delivery, secrets) => webhook(delivery, secrets),
      async verifyShared(delivery) {
        const { 'github-public-key-identifier': id, 'github-public-key-signature': signature } = delivery.headers;
        if (!id || !signature) throw refuse('signature_missing');
        const key = await keys.find(id);
        if (key === null) throw refuse('unknown_key');
        if (!isSignedBy(key, delivery.raw, signature)) throw refuse('signature_mismatch');
        return partner(delivery);
      },
    };
  },
};

/** ECDSA on P-256 with SHA-256 over the raw body; the signature is DER in base64. */
export function isSignedBy(publicKey: string, raw: Buffer, signature: string): boolean {
  try {
    return verify('sha256', raw, { key: publicKey, dsaEncoding: 'der' }, Buffer.from(signature, 'base64'));
  } catch {
    return false;
  }
}

/** `X-Hub-Signature-256`: HMAC-SHA-256 over the raw body, as `sha256=<hex>`. Constant time. */
export function isHubSignature(secrets: readonly Secret[], raw: Buffer, signature: string): boolean {
  const given = Buffer.from(signature);
  return secrets.some((secret) => {
    const expected = Buffer.from(`sha256=${createHmac('sha256', secret.reveal()).update(raw).digest('hex')}`);
    return expected.length === given.length && timingSafeEqual(expected, given);
  });
}

/** Actions that report a leak. All others, e.g. `resolved`, tell what became of one. */
const ACTIONS = new Set(['created', 'reopened', 'publicly_leaked', 'validated']);

const scanningAlert = z.object({
  action: z.string(),
  alert: z.object({
    number: z.number().int(),
    secret_type: z.string().max(80).optional(),
    validity: z.string().optional(),
    html_url: z.string().max(2_048).optional(),
    // GitHub's webhook leaves it out. It is there when somebody passes an alert of the REST API on, which has the same shape.
    secret: z.string().min(1).max(16_384).optional(),
  }),
  repository: z.object({ full_name: z.string().max(140) }),
});

/** The delivery's id is a hash of its body: the header `X-GitHub-Delivery` is not signed, so anyone could change it. */
function webhook({ raw, headers }: AlertDelivery, secrets: readonly Secret[]): VerifiedDelivery {
  const signature = headers['x-hub-signature-256'];
  if (!signature || !headers['x-github-delivery']) throw refuse('signature_missing');
  if (!isHubSignature(secrets, raw, signature)) throw refuse('signature_mismatch');
  const body = parseJson(textOf(raw, headers['content-type']));
  const leaks = headers['x-github-event'] === 'secret_scanning_alert' ? leaksOf(body) : [];
  return { id: digest(raw), leaks, answer: plainAnswer };
}

function leaksOf(body: unknown): ReportedLeak[] {
  const parsed = scanningAlert.safeParse(body);
  if (!parsed.success) throw refuse('malformed');
  const { action, alert, repository } = parsed.data;
  if (!ACTIONS.has(action) || alert.validity === 'inactive') return [];
  return [
    {
      ...(alert.secret !== undefined && { token: new Secret(alert.secret) }),
      confirmed: true,
      kind: alert.secret_type ?? null,
      url: plainUrl(alert.html_url),
      reference: `${repository.full_name}#${alert.number}`,
    },
  ];
}

/** GitHub can be set to send the JSON as the form field `payload`. */
function textOf(raw: Buffer, contentType = ''): string {
  const text = raw.toString();
  return contentType.startsWith('application/x-www-form-urlencoded')
    ? (new URLSearchParams(text).get('payload') ?? '')
    : text;
}

const MAX_TOKENS = 100;

const partnerBody = z.array(
  z.object({
    token: z.string().min(1).max(16_384),
    type: z.string().max(80),
    url: z.string().max(2_048).nullish(),
    source: z.string().max(80).nullish(),
  }),
);

/** The answer tells GitHub of each token, by its hash, whether it is ours. */
function partner({ raw }: AlertDelivery): VerifiedDelivery {
  const parsed = partnerBody.safeParse(parseJson(raw.toString()));
  if (!parsed.success) throw refuse('malformed');
  if (parsed.data.length > MAX_TOKENS) throw refuse('too_large');
  const tokens = parsed.data;
  return {
    id: digest(raw),
    leaks: tokens.map(({ token, type, url }) => ({
      token: new Secret(token),
      confirmed: true,
      kind: type,
      url: plainUrl(url),
      reference: null,
    })),
    answer: (results) => ({
      status: 200,
      body: tokens.map(({ token, type }, index) => ({
        token_hash: digest(token),
        token_type: type,
        label: results[index]?.status === 'unmatched' ? 'false_positive' : 'true_positive',
      })),
    }),
  };
}

function digest(data: Buffer | string): string {
  return createHash('sha256').update(data).digest('hex');
}
