/** Apps that go on asking, whatever happens to the system. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Answer } from '../../testkit/messages/caller.ts';
import { type ConsentCode, consentCode } from '../../testkit/messages/consent.ts';
import type { AuthorizationServer } from '../../testkit/servers/authorization-server.ts';
import type { Keyturn } from './support.ts';

export type Load = {
  /** Ends the load and resolves to the ids of all events that were answered with 202. */
  stop(): Promise<string[]>;
  /** How many calls got no good answer: the trouble was felt. */
  refused(): number;
};

const BETWEEN_MS = 40;

/** Exchanges of new codes, refreshes on request and token releases, one of each kind after another. */
export function startLoad(keyturn: Keyturn, server: AuthorizationServer): Load {
  const accepted: string[] = [];
  let refused = 0;
  let isOn = true;
  const keep = (answer: Answer | null) => {
    if (answer === null || answer.status >= 500) refused += 1;
    if (answer?.status !== 202) return;
    const { results = [], eventId } = answer.body as { results?: { eventId: string }[]; eventId?: string };
    accepted.push(...results.map((receipt) => receipt.eventId), ...(eventId ? [eventId] : []));
  };
  const goOn = async (work: (turn: number) => Promise<Answer | null>) => {
    for (let turn = 0; isOn; turn += 1) {
      keep(await work(turn).catch(() => null));
      await pause(BETWEEN_MS);
    }
  };
  const known = knownIds(keyturn);
  const onOne = async (turn: number, ask: (id: string) => Promise<Answer>) => {
    const ids = await known();
    return ids.length === 0 ? null : ask(ids[(turn * 7) % ids.length]!);
  };
  const apps = [
    goOn(async (turn) => keyturn.send('credential.exchange.requested', await codeFor(server, `late-${turn}`))),
    goOn((turn) => onOne(turn, (id) => keyturn.call('POST', `/v1/credentials/${id}/refresh`, {}))),
    goOn((turn) => onOne(turn, (id) => keyturn.call('GET', `/v1/credentials/${id}/token`))),
  ];
  return {
    refused: () => refused,
    stop: async () => {
      isOn = false;
      await Promise.all(apps);
      return accepted;
    },
  };
}

/** Ids as the API lists them; asked for once. */
function knownIds(keyturn: Keyturn): () => Promise<string[]> {
  let ids: string[] = [];
  return async () => {
    if (ids.length > 0) return ids;
    const { body } = await keyturn.call('GET', '/v1/credentials?limit=200');
    ids = (body.items as { id: string }[]).map(({ id }) => id);
    return ids;
  };
}

/** The data of an exchange event of an app that went through consent by itself, as `acme` asks for it. */
export function codeFor(server: AuthorizationServer, subject: string): Promise<ConsentCode> {
  return consentCode(server, { subject, scopes: ['openid', 'offline_access', 'read'] });
}
