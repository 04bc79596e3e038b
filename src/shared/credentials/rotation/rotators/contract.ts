/** What a rotator is, and how one is chosen. Each file in `rotators/` is one; it is picked up by being there. */
import type { Clock } from '../../../platform/clock.ts';
import { AppError } from '../../../platform/errors.ts';
import { loadPlugin, pluginNames } from '../../../platform/plugins.ts';
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

/** What a rotator is given with every call. */
export type RotationCall = {
  credential: Pick<CredentialDoc, '_id' | 'tenantId' | 'service' | 'subject' | 'kind' | 'metadata'>;
  /** What is released now: the old secret until the promotion, the new one after. Null once it was destroyed. */
  current: HeldSecret | null;
  /**
   * The credential named by `metadata.admin_credential_id`, of the same tenant and service. Its secret goes only to the
   * address in its own metadata: who imports a credential must not be able to have another's secret sent elsewhere.
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

/** Rotators by name. */
export type Rotators = ReadonlyMap<string, Rotator>;

const FOLDER = new URL('./plugins/', import.meta.url);

/** Every file in `rotators/`. */
export async function loadRotators(): Promise<Rotators> {
  const rotators = new Map<string, Rotator>();
  for (const name of await pluginNames(FOLDER, import.meta.url)) {
    rotators.set(name, await loadPlugin<Rotator>(FOLDER, import.meta.url, 'rotator', name));
  }
  return rotators;
}

/** The one that `metadata.rotator` names, else the first that applies. Throws `provider_unsupported`. */
export function chooseRotator(rotators: Rotators, credential: RotationCall['credential']): Rotator {
  return findRotator(rotators, credential) ?? refuse(rotators);
}

/** As `chooseRotator`; undefined where there is none. */
export function findRotator(rotators: Rotators, credential: RotationCall['credential']): Rotator | undefined {
  const named = credential.metadata.rotator;
  return named !== undefined
    ? rotators.get(named)
    : [...rotators.values()].find((rotator) => rotator.appliesTo(credential));
}

/** The rotator of that name. Throws `provider_unsupported`. */
export function namedRotator(rotators: Rotators, name: string): Rotator {
  return rotators.get(name) ?? refuse(rotators);
}

function refuse(rotators: Rotators): never {
  const names = [...rotators.keys()].join(', ');
  throw new AppError('provider_unsupported', {
    detail: `No rotator takes this credential; its metadata "rotator" may name one of: ${names}.`,
  });
}
