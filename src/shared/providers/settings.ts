import { z } from 'zod';
import type { ProviderSettings } from '../platform/config/provider-settings.ts';
import { AppError } from '../platform/errors.ts';

/** The client as registered at the provider. Without a secret it is a public client (RFC 6749 §2.1). */
export type ClientIdentity = { id: string; secret: string };

/** The environment variable that sets a field of a service, e.g. `KEYTURN_PROVIDER_NANO_BANANA_CLIENT_ID`. */
export function settingName(service: string, field: string): string {
  return `KEYTURN_PROVIDER_${service}_${field}`.toUpperCase().replaceAll('-', '_');
}

/** A `config_invalid` that names the variable to set and what is wrong with it; never its value. */
export function badSetting(service: string, field: string, problem: string): AppError {
  return new AppError('config_invalid', { detail: `${settingName(service, field)} ${problem}` });
}

/** Client id and secret, both demanded. Throws `config_invalid`. */
export function requireClient(settings: ProviderSettings): ClientIdentity {
  const { service, clientId, clientSecret } = settings;
  if (!clientSecret) throw badSetting(service, 'client_secret', 'is missing.');
  const secret = clientSecret.reveal();
  if (!PRINTABLE.test(secret)) throw badSetting(service, 'client_secret', 'may hold printable ASCII only.');
  return { id: requireClientId(service, clientId), secret };
}

/** A public client: an id alone. Throws `config_invalid`. */
export function requirePublicClient(settings: ProviderSettings): ClientIdentity {
  if (settings.clientSecret)
    throw badSetting(settings.service, 'client_secret', 'is set, but a public client has none.');
  return { id: requireClientId(settings.service, settings.clientId), secret: '' };
}

/** RFC 6749 Appendix A.1 and A.2. */
const PRINTABLE = /^[\x20-\x7E]+$/;

function requireClientId(service: string, id: string | undefined): string {
  if (!id) throw badSetting(service, 'client_id', 'is missing.');
  if (!PRINTABLE.test(id)) throw badSetting(service, 'client_id', 'may hold printable ASCII only.');
  return id;
}

/** The further settings, checked; a name that the plug-in does not know is refused. Throws `config_invalid`. */
export function parseExtra<T extends z.ZodRawShape>(settings: ProviderSettings, shape: T): z.infer<z.ZodObject<T>> {
  const result = z.strictObject(shape).safeParse(settings.extra);
  if (result.success) return result.data as z.infer<z.ZodObject<T>>;
  const issue = result.error.issues[0];
  if (issue?.code === 'unrecognized_keys') {
    throw badSetting(settings.service, issue.keys[0] ?? '', 'is not a setting of this provider.');
  }
  throw badSetting(settings.service, String(issue?.path[0]), `is not valid: ${issue?.message}.`);
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** Whether tokens may travel to this URL: https, or plain http on loopback (RFC 8252 §8.3). */
export function isSecureUrl(value: string): boolean {
  const url = URL.parse(value);
  if (!url || url.username || url.password) return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname));
}

/** For a setting that is a URL. */
export const secureUrl = z.string().refine(isSecureUrl, 'must be an https URL (plain http on loopback only)');
