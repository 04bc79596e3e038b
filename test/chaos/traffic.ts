/** An app under load, and what it knows: every event that was answered with 202, and every token that was released. */
import { setTimeout as pause } from 'node:timers/promises';
import { consentCode } from '../../testkit/messages/consent.ts';
import { BATCH, cloudEvent } from '../../testkit/messages/events.ts';
import type { Dice } from './random.ts';
import { SERVICE, type World } from './world.ts';

/** One event, from the moment that the app means to send it. */
export type Sent = { sourceId: string; type: string; subject: string | null; credentialId: string | null };

export type Model = {
  /** Keyturn's id → what was sent. Only what was acknowledged. */
  accepted: Map<string, Sent>;
  /** Receipts that contradict an earlier one. */
  contradictions: string[];
  /** Credentials whose revocation was acknowledged. */
  revoked: Set<string>;
  released: number;
};

export type Traffic = { model: Model; stop(): Promise<void> };

const MAX_PEOPLE = 40;
const FIRST_PEOPLE = 15;
const GIVE_UP_MS = 120_000;

type App = { world: World; dice: Dice; model: Model; people: number; stopping: boolean };

/** Starts the load. `stop` ends it and waits until the last event that was begun is acknowledged. */
export function startTraffic(world: World, dice: Dice): Traffic {
  const model: Model = { accepted: new Map(), contradictions: [], revoked: new Set(), released: 0 };
  const app: App = { world, dice, model, people: 0, stopping: false };
  const underWay = new Set<Promise<unknown>>();
  const begin = (work: Promise<unknown>) => {
    const settled = work.finally(() => underWay.delete(settled));
    underWay.add(settled);
  };
  const loop = async () => {
    for (let person = 0; person < FIRST_PEOPLE; person += 1) begin(connect(app));
    while (!app.stopping) {
      begin(app.dice.weighted(ACTIONS).act(app));
      await pause(50);
    }
  };
  const running = loop();
  return {
    model,
    stop: async () => {
      app.stopping = true;
      await running;
      await Promise.all(underWay);
    },
  };
}

const ACTIONS: { weight: number; act(app: App): Promise<void> }[] = [
  { weight: 4, act: (app) => askFor(app, 'credential.refresh.requested', 1) },
  { weight: 1, act: (app) => askFor(app, 'credential.refresh.requested', 10) },
  { weight: 0.15, act: (app) => askFor(app, 'credential.revocation.requested', 1) },
  { weight: 6, act: release },
  { weight: 1, act: (app) => (app.people < MAX_PEOPLE ? connect(app) : Promise.resolve()) },
];

/** A person consents, and the app hands the code over. */
async function connect(app: App): Promise<void> {
  const { provider, deps } = app.world;
  app.people += 1;
  const subject = `person-${app.people}`;
  const data = await consentCode(provider, { subject, service: SERVICE, provider: deps.providers.get(SERVICE) });
  await send(app, [{ type: 'credential.exchange.requested', data, subject, credentialId: null }]);
}

async function askFor(app: App, type: string, many: number): Promise<void> {
  const known = await activeIds(app);
  if (known.length === 0) return;
  const ids = [...new Set(Array.from({ length: many }, () => app.dice.pick(known)))];
  await send(
    app,
    ids.map((credentialId) => ({ type, data: { credentialId }, subject: null, credentialId })),
  );
}

/** Ids that the app has heard of. None while MongoDB is away. */
async function activeIds({ world }: App): Promise<string[]> {
  const found = await world.deps.database
    .collection('credentials')
    .find({ state: 'active' }, { projection: { _id: 1 }, timeoutMS: 1_000 })
    .toArray()
    .catch(() => []);
  return found.map((doc) => doc._id);
}

type Wanted = Omit<Sent, 'sourceId'> & { data: object };

/** Sends the same events again until they are acknowledged, as an app would whose request got no answer. */
async function send(app: App, wanted: Wanted[]): Promise<void> {
  const body = wanted.map(({ type, data }) => cloudEvent(type, data));
  const events = wanted.map((one, index) => ({ ...one, sourceId: body[index]!.id }));
  const deadline = performance.now() + GIVE_UP_MS;
  while (performance.now() < deadline) {
    const receipts = await post(app, body);
    if (receipts) {
      for (const [index, receipt] of receipts.entries()) note(app, receipt, events[index]!);
      return;
    }
    await pause(app.dice.between(100, 600));
  }
  app.model.contradictions.push(`no acknowledgement within ${GIVE_UP_MS} ms`);
}

type Receipt = { eventId?: string; status: string };

async function post({ world }: App, body: unknown): Promise<Receipt[] | null> {
  const answer = await call(world, '/v1/events', {
    method: 'POST',
    headers: BATCH,
    body: JSON.stringify(body),
  });
  return answer?.status === 202 ? (answer.body as { results: Receipt[] }).results : null;
}

function note({ model }: App, receipt: Receipt, { sourceId, type, subject, credentialId }: Wanted & Sent): void {
  if (receipt.eventId === undefined) return void model.contradictions.push(`${type} was ${receipt.status}`);
  model.accepted.set(receipt.eventId, { sourceId, type, subject, credentialId });
  if (type === 'credential.revocation.requested') model.revoked.add(credentialId as string);
}

/** A released token is good when it leaves. */
async function release(app: App): Promise<void> {
  const known = await activeIds(app);
  if (known.length === 0) return;
  const id = app.dice.pick(known);
  const answer = await call(app.world, `/v1/credentials/${id}/token`);
  if (answer?.status !== 200) return;
  app.model.released += 1;
  const { accessToken, expiresAt } = answer.body as { accessToken: string; expiresAt: string };
  const belief = await app.world.provider.findToken(accessToken);
  const isOver = Date.parse(expiresAt) <= Date.now() || app.model.revoked.has(id);
  if (belief?.active || isOver) return;
  const revoked = await app.world.deps.database.collection('events').findOne({
    credentialId: id,
    type: 'credential.revocation.requested',
  });
  if (!revoked) app.model.contradictions.push(`a released token of ${id} was not good`);
}

/** The answer, read to its end; null when there was none. */
async function call(world: World, path: string, init: RequestInit = {}) {
  try {
    const headers = { ...init.headers, authorization: `Bearer ${world.adminKey}` };
    const response = await fetch(`${world.apiUrl}${path}`, { ...init, headers, signal: AbortSignal.timeout(15_000) });
    return { status: response.status, body: (await response.json()) as unknown };
  } catch {
    return null;
  }
}
