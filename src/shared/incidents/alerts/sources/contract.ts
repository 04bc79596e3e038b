/** What an alert source is. Each file in `alert-sources/` is one; it is picked up by being there. */
import type { Clock } from '../../../platform/clock.ts';
import type { Config } from '../../../platform/config/parse.ts';
import { AppError, type ErrorCode } from '../../../platform/errors.ts';
import { loadPlugin, pluginNames } from '../../../platform/plugins.ts';
import type { Random } from '../../../platform/random.ts';
import type { Secret } from '../../../platform/secret.ts';

/** One request of a party that reports leaks, as it came in: nothing of it is trusted yet. */
export type AlertDelivery = {
  /** The bytes that are signed. */
  raw: Buffer;
  /** By lower-case name. */
  headers: Readonly<Record<string, string | undefined>>;
  /** Milliseconds since the epoch. */
  now: number;
};

/** One leak that a party reports. What it names is looked up; naming nothing, it becomes a case for a person. */
export type ReportedLeak = {
  /** The leaked string itself: it is fingerprinted and dropped. */
  token?: Secret;
  /** One of ours, as in `v1.…`. */
  fingerprint?: string;
  credentialId?: string;
  /** Whether it is known to be out: then it is contained before anyone is asked. */
  confirmed: boolean;
  /** The party's own word for the kind of secret. */
  kind: string | null;
  url: string | null;
  /** The party's own name of the alert, e.g. `octo/repo#42`: reports of the same name are one case. */
  reference: string | null;
};

/** What became of a reported leak. `unmatched`: no credential of ours, or of another tenant. */
export type LeakResult = { status: 'accepted' | 'duplicate' | 'unmatched'; eventId: string | null };

/** A delivery whose signature holds. */
export type VerifiedDelivery = {
  /** The same for a repetition and for nothing else. Must be part of what is signed: a header that is not is anyone's to change. */
  id: string;
  leaks: ReportedLeak[];
  /** The reply, in the party's own format; `results` are in the order of `leaks`. */
  answer(results: LeakResult[]): { status: 200 | 202; body: unknown };
};

/** Throws what `refuse` makes; nothing else. */
export type AlertSource = {
  /** A delivery to the address of one tenant's source, signed with the secret that it was given. */
  verify(delivery: AlertDelivery, secrets: readonly Secret[]): Promise<VerifiedDelivery>;
  /** A delivery to the one address for all tenants, signed with a key that the party publishes. Absent: there is none. */
  verifyShared?(delivery: AlertDelivery): Promise<VerifiedDelivery>;
};

export type AlertSourceDeps = { clock: Clock; config: Config };

/** What each file exports as `plugin`. */
export type AlertSourcePlugin = {
  /** File name without its ending; a segment of the address. */
  readonly name: string;
  /** One line: who reports, and in what format. */
  readonly about: string;
  /** The secret of a new source, in the form that the party takes. Shown once. */
  newSecret(random: Pick<Random, 'bytes'>): Secret;
  /** Does no I/O. */
  create(deps: AlertSourceDeps): AlertSource;
};

/** Why a delivery is refused; on the record as the reason of `alert.refused`. */
export const REFUSALS = {
  signature_missing: { code: 'signature_invalid', detail: 'The signature headers are missing or malformed.' },
  signature_mismatch: { code: 'signature_invalid', detail: 'The signature does not match the body.' },
  unknown_key: { code: 'signature_invalid', detail: 'The key that signed it is not published.' },
  time_out_of_range: { code: 'signature_invalid', detail: 'It was signed more than 5 minutes ago, or in the future.' },
  keys_unavailable: { code: 'provider_unavailable', detail: 'The public keys could not be fetched; send it again.' },
  malformed: { code: 'invalid_request', detail: 'The body is not what this address takes.' },
  too_large: { code: 'payload_too_large', detail: 'Send fewer alerts at once.' },
} as const satisfies Record<string, { code: ErrorCode; detail: string }>;

export type RefusalReason = keyof typeof REFUSALS;

/** The error of a refusal. */
export function refuse(reason: RefusalReason): AppError {
  return new AppError(REFUSALS[reason].code, { detail: REFUSALS[reason].detail, internal: reason });
}

const FOLDER = new URL('./plugins/', import.meta.url);

/** Every alert source that there is, by name. */
export async function loadAlertSources(): Promise<Map<string, AlertSourcePlugin>> {
  const sources = new Map<string, AlertSourcePlugin>();
  for (const name of await pluginNames(FOLDER, import.meta.url)) {
    sources.set(name, await loadPlugin<AlertSourcePlugin>(FOLDER, import.meta.url, 'alert source', name));
  }
  return sources;
}

/** A body as JSON. Throws the refusal `malformed`. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw refuse('malformed');
  }
}

/** An address without what may be secret in it: no user, query or fragment. Null when it is none. */
export function plainUrl(value: string | null | undefined): string | null {
  const url = value ? URL.parse(value) : null;
  return url && /^https?:$/.test(url.protocol) ? `${url.origin}${url.pathname}`.slice(0, 2_048) : null;
}

/** The reply of sources that have no format of their own. */
export function plainAnswer(results: LeakResult[]): { status: 202; body: { results: LeakResult[] } } {
  return { status: 202, body: { results } };
}
