/**
 * Brings credentials to life: redeems authorization codes (RFC 6749 §4.1.3), asks for client-credentials tokens (§4.4), and
 * takes in secrets that an app hands over. A code is good for one call, so a call that may have been made is not repeated.
 */
import { z } from 'zod';
import { makeEntry } from '../../shared/audit.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Provider, TokenReply } from '../../shared/providers/contract.ts';
import type { ClientCredentialsData, ExchangeData, ImportData } from '../../shared/schemas/events.ts';
import { Secret } from '../../shared/secret.ts';
import type { CredentialDoc, EventDoc } from '../../shared/store/documents.ts';
import { verdictOn } from '../events.ts';
import { type Generation, generationSchema, makeGeneration } from '../generation.ts';
import { defineJob, type WorkerDeps } from '../job.ts';
import type { OpenAction } from '../journal.ts';
import { hold } from '../leases.ts';
import { persist } from '../persist.ts';
import { activationChange, type Birth, busy, findOrDraft } from '../upsert.ts';

const OPEN = { status: { $in: ['accepted', 'processing'] } };

export const plugin = defineJob({
  name: 'exchange',

  async process(deps, payload, signal) {
    const held = await hold(deps, 'events', { ids: payload.eventIds ?? [], purpose: 'exchange', where: OPEN });
    try {
      deps.journal.leased('exchange', held.docs);
      await Promise.all(held.docs.map((event) => settleOne(deps, event, held.isFresh, signal)));
    } finally {
      await held.end();
    }
  },

  recover: recoverAction,
});

async function settleOne(
  deps: WorkerDeps,
  event: EventDoc,
  isFresh: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return deps.journal.done(event._id, event.fence);
  try {
    const error = await bringToLife(deps, event, isFresh, signal).catch(toAppError);
    if (error) await recordFailure(deps, event, error, signal);
    deps.journal.done(event._id, event.fence);
  } catch (err) {
    deps.log.warn({ err, eventId: event._id }, 'an exchange could not be recorded');
  }
}

async function bringToLife(
  deps: WorkerDeps,
  event: EventDoc,
  isFresh: () => boolean,
  signal: AbortSignal,
): Promise<undefined> {
  const data = { ...event.data, ...(await openSealed(deps, event)) };
  const source = SOURCES[sourceOf(event)];
  if (source.once && event.interrupted) throw new AppError('exchange_interrupted');
  const provider = deps.providers.get((data as { service: string }).service);
  const birth = source.birth(provider, data as never);
  // The credential is held before the code is spent: whoever holds it now delays us, and costs nothing.
  const target = await acquire(deps, event, birth);
  try {
    if (!isFresh()) throw new AppError('interrupted', { internal: 'the lease is too old to send under' });
    if (source.once) deps.journal.sent(event._id, event.fence);
    const reply = await source.reply(provider, data as never);
    await activate(deps, { event, provider, birth, reply, signal }, target);
  } finally {
    await target.end();
  }
}

function sourceOf(event: EventDoc): keyof typeof SOURCES {
  if (event.type === 'credential.import.requested') return 'import';
  return event.data.grantType === 'client_credentials' ? 'client_credentials' : 'code';
}

async function openSealed(deps: WorkerDeps, event: EventDoc): Promise<Record<string, unknown>> {
  if (!event.sealed?.jwe) return {};
  const context = { tenantId: event.tenantId, objectId: event._id, generation: 1 };
  return JSON.parse(await deps.vault.open(event.sealed.jwe, context));
}

/** Once asked, the answer is waited for even while the process drains: it exists only once. The call has its own time-out. */
const NEVER = { signal: new AbortController().signal };

/** Where a first secret comes from. `once`: asking twice is no option. */
const SOURCES = {
  code: {
    once: true,
    birth: (provider: Provider, data: ExchangeData) => birthOf(provider, data, 'oauth2'),
    reply: async (provider: Provider, data: ExchangeData) => {
      if (!provider.exchangeCode) throw unsupported(provider, 'authorization codes');
      const reply = await provider.exchangeCode(
        {
          code: new Secret(data.code),
          codeVerifier: new Secret(data.codeVerifier),
          redirectUri: data.redirectUri,
          ...(data.resource && { resource: data.resource }),
        },
        NEVER,
      );
      return checkScopes({ ...reply, scopes: reply.scopes ?? data.scopes ?? [] }, data.scopes);
    },
  },
  client_credentials: {
    once: false,
    birth: (provider: Provider, data: ClientCredentialsData) => birthOf(provider, data, 'client_credentials'),
    reply: async (provider: Provider, data: ClientCredentialsData) => {
      if (!provider.clientCredentials) throw unsupported(provider, 'the client-credentials grant');
      const scopes = data.scopes ?? [...provider.defaultScopes];
      const reply = await provider.clientCredentials(
        { scopes, ...(data.resource && { resource: data.resource }) },
        NEVER,
      );
      return { ...reply, scopes: reply.scopes ?? scopes };
    },
  },
  import: {
    once: false,
    birth: (provider: Provider, data: ImportData) => ({
      ...birthOf(provider, data, data.kind),
      policy: {
        ...(data.rotateEveryDays && { rotateEveryMs: data.rotateEveryDays * 86_400_000 }),
        ...(data.overlapSeconds !== undefined && { overlapMs: data.overlapSeconds * 1000 }),
      },
    }),
    reply: async (_provider: Provider, data: ImportData): Promise<TokenReply> => ({
      material: {
        accessToken: new Secret(data.accessToken),
        ...(data.refreshToken && { refreshToken: new Secret(data.refreshToken) }),
        ...(data.registrationAccessToken && { registrationAccessToken: new Secret(data.registrationAccessToken) }),
      },
      tokenType: data.tokenType ?? 'Bearer',
      expiresAt: data.expiresAt ? Date.parse(data.expiresAt) : null,
      refreshExpiresAt: null,
      scopes: data.scopes ?? [],
      metadata: data.metadata ?? {},
    }),
  },
};

function birthOf(
  provider: Provider,
  data: { service: string; subject: string; resource?: string | undefined },
  kind: Birth['kind'],
): Birth {
  const { service, subject, resource } = data;
  return { service, subject, kind, issuer: provider.issuer, resource: resource ?? null, policy: {} };
}

/** A grant that is narrower than asked for would fail later, far from here. */
function checkScopes(reply: TokenReply, asked: string[] | undefined): TokenReply {
  const missing = (asked ?? []).filter((scope) => scope !== 'offline_access' && !reply.scopes?.includes(scope));
  if (missing.length === 0) return reply;
  throw new AppError('scopes_missing', {
    detail: `The provider did not grant: ${missing.join(', ')}. Ask for consent again.`,
  });
}

function unsupported(provider: Provider, what: string): AppError {
  return new AppError('provider_unsupported', { detail: `${provider.displayName} does not take ${what}.` });
}

type Target = { doc: CredentialDoc; isNew: boolean; end(): Promise<void> };

/** The credential to write to, held unless it is new. Throws `interrupted` while another worker holds it. */
async function acquire(deps: WorkerDeps, event: EventDoc, birth: Birth): Promise<Target> {
  const { doc, isNew } = await findOrDraft(deps, event, birth);
  if (isNew) return { doc, isNew, end: async () => {} };
  const held = await hold(deps, 'credentials', { ids: [doc._id], purpose: 'activate' });
  if (!held.docs[0]) throw busy();
  return { doc: held.docs[0], isNew, end: held.end };
}

type Arrival = { event: EventDoc; provider: Provider; birth: Birth; reply: TokenReply; signal: AbortSignal };

const MOST_RACES = 100;
const RACE_PAUSE_MS = 300;

/** Writes the reply as the next generation of the target, or of whatever has taken the target's place meanwhile. */
async function activate(deps: WorkerDeps, arrival: Arrival, first: Target): Promise<void> {
  const { event, provider, birth, reply, signal } = arrival;
  if (await commitTo(first)) return;
  for (let race = 0; race < MOST_RACES; race += 1) {
    await deps.clock.sleep(RACE_PAUSE_MS, signal);
    const target = await acquire(deps, event, birth).catch(toAppError);
    if (target instanceof AppError) continue;
    try {
      if (await commitTo(target)) return;
    } finally {
      await target.end();
    }
  }
  throw busy();

  async function commitTo({ doc, isNew }: Target): Promise<boolean> {
    const next = await makeGeneration(deps, provider, doc, reply);
    return commitActivation(deps, { event, doc, isNew, birth, next }, signal);
  }
}

type Activation = { event: EventDoc; doc: CredentialDoc; isNew: boolean; birth: Birth; next: Generation };

/** False when someone else was faster with the same credential: look again. */
async function commitActivation(deps: WorkerDeps, activation: Activation, signal: AbortSignal): Promise<boolean> {
  const { event, doc, isNew, birth, next } = activation;
  deps.journal.replied(event._id, event.fence, { doc: isNew ? { ...doc } : { _id: doc._id }, isNew, birth, next });
  const outcome = await persist(deps, activationChange(deps, activation), signal);
  return outcome === 'committed';
}

async function recordFailure(deps: WorkerDeps, event: EventDoc, error: AppError, signal: AbortSignal): Promise<void> {
  const { service, subject } = event.data as { service?: string; subject?: string };
  await persist(
    deps,
    {
      operations: [
        {
          in: 'events',
          update: { _id: event._id, tenantId: event.tenantId, fence: event.fence },
          set: verdictOn(deps, event, error),
        },
      ],
      entries: [
        makeEntry(deps, {
          tenantId: event.tenantId,
          type: 'credential.exchange_failed',
          actor: { kind: 'principal', id: event.principalId, ...event.origin },
          outcome: 'failure',
          reason: error.code,
          service: service ?? null,
          subject: subject ?? null,
          eventId: event._id,
        }),
      ],
    },
    signal,
  );
}

const replySchema = z.object({
  doc: z.object({ _id: z.string() }).loose(),
  isNew: z.boolean(),
  birth: z.object({ service: z.string(), subject: z.string() }).loose(),
  next: generationSchema,
});

/** What a dead process left: an answer is committed; what was only leased, or was sent in vain, the lease settles. */
async function recoverAction(deps: WorkerDeps, action: OpenAction): Promise<void> {
  const events = deps.database.collection('events');
  if (action.stage === 'leased') {
    await events.updateOne({ _id: action.id, fence: action.fence }, { $set: { lease: null }, $inc: { fence: 1 } });
    return;
  }
  const event = await events.findOne({ _id: action.id });
  if (action.stage !== 'replied' || !event || event.status === 'succeeded') return;
  const left = replySchema.parse(action.reply);
  const target = left.isNew
    ? revive(left.doc)
    : await deps.database.collection('credentials').findOne({ _id: left.doc._id });
  if (!target || target.generation !== left.next.generation - 1) return;
  const change = activationChange(deps, {
    event,
    doc: target,
    isNew: left.isNew,
    birth: left.birth as Birth,
    next: left.next,
  });
  await persist(deps, change, NEVER.signal);
}

/** Dates of a drafted document come back from the journal as text. */
function revive(doc: Record<string, unknown>): CredentialDoc {
  const dates = ['createdAt', 'updatedAt'].map((field) => [field, new Date(doc[field] as string)]);
  return { ...doc, ...Object.fromEntries(dates) } as CredentialDoc;
}
