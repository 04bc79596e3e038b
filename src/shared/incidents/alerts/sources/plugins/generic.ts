import { z } from 'zod';
import { Secret } from '../../../../platform/secret.ts';
import { checkWebhook, newWebhookSecret } from '../../../../platform/standard-webhooks.ts';
import { type AlertSourcePlugin, parseJson, plainAnswer, plainUrl, type ReportedLeak, refuse } from '../contract.ts';

const leak = z
  .object({
    token: z.string().min(1).max(16_384).optional(),
    credentialId: z.string().max(80).optional(),
    fingerprint: z.string().max(80).optional(),
    type: z.string().max(80).optional(),
    url: z.string().max(2_048).optional(),
    reference: z.string().max(200).optional(),
    confirmed: z.boolean().default(true),
  })
  .transform(
    ({ token, credentialId, fingerprint, type, url, reference, confirmed }): ReportedLeak => ({
      ...(token !== undefined && { token: new Secret(token) }),
      ...(credentialId !== undefined && { credentialId }),
      ...(fingerprint !== undefined && { fingerprint }),
      confirmed,
      kind: type ?? null,
      url: plainUrl(url),
      reference: reference ?? null,
    }),
  );

const body = z.union([z.array(leak).min(1).max(1_000), leak.transform((one) => [one])]);

/** Any party that signs by the Standard Webhooks scheme: one leak, or an array of them. */
export const plugin: AlertSourcePlugin = {
  name: 'generic',
  about:
    'anyone, signed by the Standard Webhooks scheme: `{token? | credentialId? | fingerprint?, type?, url?, confirmed?}`',
  newSecret: newWebhookSecret,
  create: () => ({
    async verify({ raw, headers, now }, secrets) {
      const verdict = checkWebhook(secrets, headers, raw, now);
      if (verdict === 'headers_missing') throw refuse('signature_missing');
      if (verdict !== 'valid') throw refuse(verdict);
      const parsed = body.safeParse(parseJson(raw.toString()));
      if (!parsed.success) throw refuse('malformed');
      return { id: headers['webhook-id'] as string, leaks: parsed.data, answer: plainAnswer };
    },
  }),
};
