/** From the text of an intake job to its events, whose data may be encrypted to Keyturn. */
import { compactDecrypt, errors } from 'jose';
import { decryptionKey } from '../../keys/signing-keys.ts';
import { AppError } from '../../platform/errors.ts';
import type { PrincipalDoc } from '../../store/access/principals.ts';
import type { WorkerDeps } from '../../work/job.ts';
import { EVENTS } from '../catalogue.ts';

const MAX_EVENTS = 1_000;

const SECRET_FIELDS: ReadonlySet<string> = new Set(Object.values(EVENTS).flatMap(({ secrets }) => [...secrets]));

type Fields = Record<string, unknown>;

/** The text as one event or an array of them, `single` saying which. Throws `invalid_event`, also when one carries a secret in the clear. */
export function parseEvents(text: string): { events: unknown[]; single: boolean } {
  const parsed = parseJson(text);
  const events = Array.isArray(parsed) ? parsed : [parsed];
  if (events.length === 0 || events.length > MAX_EVENTS) throw invalid(`data.event: 1 to ${MAX_EVENTS} events.`);
  const exposed = events.map(plainSecretIn).find((field) => field !== undefined);
  if (exposed) {
    throw invalid(
      `data.${exposed}: a secret must not lie in Redis in the clear. It was removed from there; take it for leaked, and send ` +
        'its successor with `data` as a compact JWE to the `enc` key of /.well-known/jwks.json.',
    );
  }
  return { events, single: !Array.isArray(parsed) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalid('data.event: must be the JSON text of a CloudEvent, or of an array of them.');
  }
}

/** The first field of an event's data that is secret in any type of event: the type that it names proves nothing yet. */
function plainSecretIn(event: unknown): string | undefined {
  const data = (event as { data?: unknown } | null)?.data;
  if (typeof data !== 'object' || data === null) return undefined;
  return Object.keys(data).find((field) => SECRET_FIELDS.has(field));
}

type KeyDeps = Pick<WorkerDeps, 'database' | 'sealer'>;

/**
 * The event with its data decrypted, where that is a compact JWE (RFC 7516); else the event as it is. The protected header
 * names the sender as `iss`, so that nobody else who reads Redis can send the same JWE as its own. Throws `invalid_event`.
 */
export async function decryptData(
  deps: KeyDeps,
  principal: Pick<PrincipalDoc, '_id'>,
  event: unknown,
): Promise<unknown> {
  const { data, datacontenttype: _, ...rest } = (event ?? {}) as Fields;
  if (typeof data !== 'string') return event;
  try {
    const { plaintext, protectedHeader } = await compactDecrypt(data, ({ kid }) => keyOf(deps, kid), {
      keyManagementAlgorithms: ['ECDH-ES+A256KW'],
      contentEncryptionAlgorithms: ['A256GCM'],
    });
    if (protectedHeader.iss !== principal._id)
      throw invalid('data: `iss` in its protected header must be principalId.');
    return { ...rest, data: parseJson(new TextDecoder().decode(plaintext)) };
  } catch (error) {
    if (!(error instanceof errors.JOSEError || error instanceof TypeError)) throw error;
    throw invalid(
      'data: the JWE does not open; encrypt with ECDH-ES+A256KW and A256GCM to the `enc` key that we publish.',
    );
  }
}

async function keyOf(deps: KeyDeps, kid: unknown) {
  const key = typeof kid === 'string' ? await decryptionKey(deps, kid) : null;
  if (!key) throw invalid('data: `kid` in its protected header names no key of ours.');
  return key;
}

function invalid(detail: string): AppError {
  return new AppError('invalid_event', { detail });
}
