import { z } from 'zod';

/** Where a browser may be sent back to: https anywhere, http on the machine itself only. */
const returnUrl = z
  .url({ protocol: /^https?$/ })
  .max(2048)
  .refine(isSafe, 'must be https, or http on loopback');

function isSafe(value: string): boolean {
  const url = URL.parse(value);
  if (!url || url.username || url.password) return false;
  return url.protocol === 'https:' || ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
}

export const newAuthorizationSchema = z
  .strictObject({
    service: z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'must be a service name'),
    subject: z.string().min(1).max(255).meta({ description: "Whose credential it will be, in the app's own words" }),
    redirectUri: returnUrl
      .optional()
      .meta({ description: 'Where the person returns to in the app; else a page of ours' }),
    scopes: z.array(z.string().min(1).max(255)).max(100).optional(),
    resource: z.url().max(2048).optional().meta({ description: 'RFC 8707 resource indicator' }),
  })
  .meta({ id: 'NewAuthorization' });

export const authorizationSchema = z
  .object({
    authorizationUrl: z.string().meta({ description: 'Send the person there, in one browser, once' }),
    state: z.string(),
    expiresAt: z.iso.datetime(),
  })
  .meta({ id: 'Authorization' });

const parameter = z.string().max(16_384).optional();

/** RFC 6749 §4.1.2, RFC 9207. Further parameters of a provider are ignored (RFC 6749 §4.1.2). */
export const callbackQuery = z.object({
  state: parameter,
  code: parameter,
  iss: parameter,
  error: parameter,
  error_description: parameter,
});

export type CallbackQuery = z.infer<typeof callbackQuery>;
