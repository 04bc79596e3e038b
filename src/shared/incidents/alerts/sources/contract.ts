/** What an alert source is. Each file in `plugins/` exports one as `plugin`; it is found by being there. */
import type { Clock } from '../../../platform/clock.ts';
import type { Config } from '../../../platform/config/parse.ts';
import { AppError, type ErrorCode } from '../../../platform/errors.ts';
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

/** One leak that a party reports. The token, fingerprint or credential that it names is looked up; one that names none becomes a case for a person. */
export type ReportedLeak = {
  /** The leaked string itself. It is fingerprinted, and kept nowhere. */
  token?: Secret;
  /** A fingerprint of ours, `v1.…`. */
  fingerprint?: string;
  credentialId?: string;
  /** Whether the secret is known to be out. Then it is contained before anyone is asked. */
  confirmed: boolean;
  /** The party's own word for the kind of secret. */
  kind: string | null;
  url: string | null;
  /** The party's own name of the alert, e.g. `octo/repo#42`. Reports with the same name are one case. */
  reference: string | null;
};

/** What became of a reported leak. `unmatched`: no credential of ours, or of another tenant. */
export type LeakResult = { status: 'accepted' | 'duplicate' | 'unmatched'; eventId: string | null };

/** A delivery whose signature holds. */
export type VerifiedDelivery = {
  /**
   * The same for a repetition of the delivery, different for every other. It must be taken from what is signed: anyone could
   * change a header that is not, and so have one delivery taken twice.
   */
  id: string;
  leaks: ReportedLeak[];
  /** The reply, in the party's own format; `results` are in the order of `leaks`. */
  answer(results: LeakResult[]): { status: 200 | 202; body: unknown };
};

/** Verifies deliveries. Throws only what `refuse` makes. */
export type AlertSource = {
  /** A delivery to the address of one tenant's source, signed with the secret that it was given. */
  verify(delivery: AlertDelivery, secrets: readonly Secret[]): Promise<VerifiedDelivery>;
  /** A delivery to the one address for all tenants, signed with a key that the party publishes. Absent: there is none. */
  verifyShared?(delivery: AlertDelivery): Promise<VerifiedDelivery>;
};

/** What a source is created with. */
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

/** Why a delivery is refused. The key is the `reason` of the entry `alert.refused`. */
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

/** A body as JSON. Throws the refusal `malformed`. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw refuse('malformed');
  }
}

/** A URL without the parts that may hold a secret: user, query and fragment. Null for what is no http(s) URL. */
export function plainUrl(value: string | null | undefined): string | null {
  const url = value ? URL.parse(value) : null;
  return url && /^https?:$/.test(url.protocol) ? `${url.origin}${url.pathname}`.slice(0, 2_048) : null;
}

/** The reply to parties that expect no format of their own. */
export function plainAnswer(results: LeakResult[]): { status: 202; body: { results: LeakResult[] } } {
  return { status: 202, body: { results } };
}
