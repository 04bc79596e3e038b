/** The contract of a rotator. Each file in `plugins/` exports one as `plugin`; it is found by being there. */
import type { Clock } from '../../../platform/clock.ts';
import type { Random } from '../../../platform/random.ts';
import type { SecretMaterial } from '../../../providers/contract.ts';
import type { CredentialDoc } from '../../../store/lifecycle/credentials.ts';

/** A secret, and the metadata of the credential that go with it, e.g. a client id. */
export type HeldSecret = { material: SecretMaterial; metadata: Record<string, string> };

/** A new secret. `metadata` is merged into the credential's when it is promoted; it is shown, so never a secret. */
export type Minted = HeldSecret & {
  /** Milliseconds since the epoch; null: it does not end by itself. */
  expiresAt: number | null;
};

/** The input of every call of a rotator. */
export type RotationCall = {
  credential: Pick<CredentialDoc, '_id' | 'tenantId' | 'service' | 'subject' | 'kind' | 'metadata'>;
  /** The secret that is released now: the old one until the promotion, then the new one. Null once it was destroyed. */
  current: HeldSecret | null;
  /**
   * The credential named by `metadata.admin_credential_id`, of the same tenant and service. Its secret goes only to the
   * address in its own metadata: a caller that imports a credential must not have another's secret sent elsewhere.
   */
  admin: HeldSecret | null;
  random: Pick<Random, 'bytes'>;
  clock: Pick<Clock, 'now'>;
  /** Bound of one call to the other side. Milliseconds. */
  timeoutMs: number;
  /** Aborts when the process drains; the call then ends with `interrupted`. `mint` at a provider is never interrupted. */
  signal: AbortSignal;
};

/**
 * Makes a new secret good at the other side beside the old one, and later ends the old one. Every call may be made again
 * after a crash, with the same arguments, and must then do no further harm. Calls are bounded in time, throw only
 * `AppError`, and never put a secret or the other side's words into one. A code that may be tried again
 * (`provider_unavailable`, `provider_throttled`) is; any other gives the rotation up while the old secret is still good.
 */
export type Rotator = {
  /** File name without its ending; the value of `metadata.rotator`. */
  readonly name: string;
  /** One line: what is rotated and where. */
  readonly about: string;
  /** Metadata that it reads, of the credential and of its admin credential: name → meaning, for the documentation. */
  readonly needs: Readonly<Record<string, string>>;
  readonly adminNeeds: Readonly<Record<string, string>>;
  /** `home`: `mint` makes the secret itself and calls nobody. `provider`: the other side hands it out, once. */
  readonly mintedBy: 'home' | 'provider';
  /** Whether it takes this credential when `metadata.rotator` names none. */
  appliesTo(credential: RotationCall['credential']): boolean;
  /**
   * A secret that was never used before. By `home` it is good nowhere until `apply`. By `provider` a call whose answer was
   * lost is made again; what the lost one made must be worth nothing to anyone.
   */
  mint(call: RotationCall): Promise<Minted>;
  /** Makes `next` good beside the present one, which goes on working. Nothing to do where `mint` has done it. */
  apply(call: RotationCall, next: HeldSecret): Promise<void>;
  /** Uses `next` as an application would. False: it was not accepted. An other side that does not answer throws. */
  verify(call: RotationCall, next: HeldSecret): Promise<boolean>;
  /** Ends `old`, a secret that is not released any more, or never was. That it has ended already is success. */
  retire(call: RotationCall, old: HeldSecret): Promise<void>;
};
