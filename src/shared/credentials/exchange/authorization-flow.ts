/**
 * The steps of a person through a provider's consent. Each is bound to the one before: the state (single use, kept as a
 * hash) to the request, a cookie to the browser that passed our start page, `iss` to the provider (RFC 9207).
 */
import { hash, timingSafeEqual } from 'node:crypto';
import { isOver } from '../../access/api-keys.ts';
import { acceptEvents } from '../../events/accept.ts';
import { AppError, type ErrorCode } from '../../platform/errors.ts';
import type { Deps } from '../../runtime/deps.ts';
import { findPrincipal } from '../../store/access/principals.ts';
import type { Origin } from '../../store/base/document.ts';
import { makeEntry } from '../../store/entry.ts';
import {
  type AuthorizationDoc,
  bindAuthorization,
  findAuthorizationByStateHash,
} from '../../store/lifecycle/authorizations.ts';
import { type EventDoc, findEvent } from '../../store/lifecycle/events.ts';
import type { CallbackQuery } from './authorization-schema.ts';

/** How long a person has for consent. Milliseconds. */
export const FLOW_MS = 5 * 60_000;

const SOURCE = 'keyturn:authorizations';
const POLL_MS = 100;
const WAIT_MS = 15_000;

type FlowDeps = Pick<
  Deps,
  'clock' | 'random' | 'database' | 'commit' | 'sealer' | 'secrets' | 'providers' | 'hints' | 'log'
>;

/** SHA-256, base64url: what is kept of a state and of a cookie. */
export function hashOf(value: string): string {
  return hash('sha256', value, 'base64url');
}

/** The authorization of a state that may still be used. Throws `state_invalid`. */
export async function findAuthorization(deps: FlowDeps, state: string | undefined): Promise<AuthorizationDoc> {
  if (state === undefined) throw invalidState();
  const doc = await findAuthorizationByStateHash(deps.database, hashOf(state));
  if (!doc || doc.usedAt || doc.expiresAt.getTime() <= deps.clock.now()) throw invalidState();
  return doc;
}

/** Ties the flow to the first browser that comes. Throws `state_invalid` for any other. */
export async function bindBrowser(deps: FlowDeps, doc: AuthorizationDoc, cookie: string): Promise<void> {
  if (doc.browserHash !== null) return assertBrowser(doc, cookie);
  if (!(await bindAuthorization(deps.database, doc, hashOf(cookie)))) throw invalidState();
}

/** Throws `state_invalid` unless the cookie is that of the browser which passed our start page. */
export function assertBrowser(doc: AuthorizationDoc, cookie: string | undefined): void {
  const given = Buffer.from(hashOf(cookie ?? ''));
  const wanted = Buffer.from(doc.browserHash ?? '');
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) throw invalidState();
}

/** The provider's URL for a flow (PKCE S256). */
export async function providerUrl(
  deps: FlowDeps,
  doc: AuthorizationDoc,
  way: { state: string; redirectUri: string },
): Promise<string> {
  const provider = deps.providers.get(doc.service);
  if (!provider.authorizationUrl) throw new AppError('provider_unsupported');
  return provider.authorizationUrl({
    ...way,
    codeChallenge: hashOf(await openVerifier(deps, doc)),
    scopes: doc.scopes,
    ...(doc.resource !== null && { resource: doc.resource }),
  });
}

/**
 * Turns a provider's answer into an event on behalf of the principal who asked. The event's id is the state's hash, so
 * of two answers that race one is a duplicate. Throws `issuer_mismatch`, `consent_denied`, `state_invalid`.
 */
export async function completeAuthorization(
  deps: FlowDeps,
  doc: AuthorizationDoc,
  answer: { query: CallbackQuery; redirectUri: string; origin: Origin; traceparent: string | null },
): Promise<string> {
  const { query, origin } = answer;
  const provider = deps.providers.get(doc.service);
  const isAnotherIssuer = query.iss !== undefined && provider.issuer !== null && query.iss !== provider.issuer;
  if (isAnotherIssuer) throw await refuse(deps, doc, origin, 'issuer_mismatch');
  if (query.error !== undefined || !query.code) throw await refuse(deps, doc, origin, 'consent_denied');
  const principal = await findPrincipal(deps.database, { tenantId: doc.tenantId, id: doc.principalId });
  const isGone = !principal || principal.revokedAt !== null || isOver(principal, deps.clock.now());
  if (isGone) throw await refuse(deps, doc, origin, 'state_invalid');
  const event = {
    specversion: '1.0',
    id: doc._id,
    source: SOURCE,
    type: 'credential.exchange.requested',
    data: {
      service: doc.service,
      subject: doc.subject,
      code: query.code,
      codeVerifier: await openVerifier(deps, doc),
      redirectUri: answer.redirectUri,
      scopes: doc.scopes,
      ...(doc.resource !== null && { resource: doc.resource }),
    },
  };
  const [receipt] = await acceptEvents(deps, { principal, origin, traceparent: answer.traceparent }, [event]);
  if (receipt?.status === 'rejected') throw await refuse(deps, doc, origin, receipt.problem.code);
  if (receipt?.status !== 'accepted') throw invalidState();
  // The accepted event goes on; without the mark a second answer is still a duplicate of it.
  await markUsed(deps, doc, origin, { eventId: receipt.eventId }).catch((err) =>
    deps.log.warn({ err, eventId: receipt.eventId }, 'an authorization could not be marked as used'),
  );
  return receipt.eventId;
}

/** Waits a while for an event to settle; resolves to it as it then is. */
export async function awaitEvent(
  deps: FlowDeps,
  ref: { tenantId: string; id: string },
  stopping: AbortSignal,
): Promise<EventDoc> {
  const giveUpAt = deps.clock.now() + WAIT_MS;
  for (;;) {
    const doc = await findEvent(deps.database, ref);
    if (!doc) throw new AppError('not_found');
    if (doc.settledAt || doc.status === 'parked' || deps.clock.now() >= giveUpAt || stopping.aborted) return doc;
    await deps.clock.sleep(POLL_MS, stopping);
  }
}

async function openVerifier(deps: FlowDeps, doc: AuthorizationDoc): Promise<string> {
  return deps.sealer.open(doc.codeVerifier.jwe!, { tenantId: doc.tenantId, objectId: doc._id, generation: 1 });
}

/** Ends the flow on the record and returns what to throw. */
async function refuse(deps: FlowDeps, doc: AuthorizationDoc, origin: Origin, code: ErrorCode): Promise<AppError> {
  await markUsed(deps, doc, origin, { refusal: code });
  return new AppError(code);
}

type Ending = { eventId: string } | { refusal: ErrorCode };

/** Throws `state_invalid` when another answer was faster. */
async function markUsed(deps: FlowDeps, doc: AuthorizationDoc, origin: Origin, ending: Ending): Promise<void> {
  const { _id, tenantId } = doc;
  const eventId = 'eventId' in ending ? ending.eventId : null;
  const outcome = await deps.commit({
    operations: [
      {
        in: 'authorizations',
        update: { _id, tenantId, usedAt: null },
        set: { $set: { usedAt: new Date(deps.clock.now()), eventId } },
      },
    ],
    entries: [
      makeEntry(deps, {
        tenantId,
        type: eventId ? 'authorization.completed' : 'authorization.refused',
        actor: { kind: 'subject', id: doc.subject, ...origin },
        outcome: eventId ? 'success' : 'denied',
        service: doc.service,
        subject: doc.subject,
        eventId,
        reason: 'refusal' in ending ? ending.refusal : null,
      }),
    ],
  });
  if (outcome !== 'committed') throw invalidState();
}

function invalidState(): AppError {
  return new AppError('state_invalid', { detail: 'Begin again from the app, in one browser, within five minutes.' });
}
