/** Apps that go on asking, whatever happens to the system. */
import { createHash, randomBytes } from 'node:crypto';
import type { AuthorizationServer } from '../../testkit/authorization-server.ts';
import { until } from '../../testkit/signals.ts';
import type { Answer, Keyturn } from './support.ts';

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
    const { results, eventId } = (answer?.body ?? {}) as {
      results?: { status: string; eventId: string }[];
      eventId?: string;
    };
    if (answer?.status !== 202) return;
    accepted.push(...(results ?? []).map((receipt) => receipt.eventId), ...(eventId ? [eventId] : []));
  };
  const lane = async (work: (turn: number) => Promise<Answer | null>) => {
    for (let turn = 0; isOn; turn += 1) {
      keep(await work(turn).catch(() => null));
      const goOnAt = performance.now() + BETWEEN_MS;
      await until(() => performance.now() > goOnAt, { what: 'the next turn' });
    }
  };
  const known = knownIds(keyturn);
  const onOne = async (turn: number, ask: (id: string) => Promise<Answer>) => {
    const ids = await known();
    return ids.length === 0 ? null : ask(ids[(turn * 7) % ids.length]!);
  };
  const lanes = [
    lane(async (turn) => keyturn.send('credential.exchange.requested', await codeFor(server, `late-${turn}`))),
    lane((turn) => onOne(turn, (id) => keyturn.call('POST', `/v1/credentials/${id}/refresh`, {}))),
    lane((turn) => onOne(turn, (id) => keyturn.call('GET', `/v1/credentials/${id}/token`))),
  ];
  return {
    refused: () => refused,
    stop: async () => {
      isOn = false;
      await Promise.all(lanes);
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

/** What an app sends that went through consent by itself. */
export async function codeFor(server: AuthorizationServer, subject: string): Promise<Record<string, unknown>> {
  const codeVerifier = randomBytes(32).toString('base64url');
  const query = new URLSearchParams({
    client_id: server.clientId,
    redirect_uri: server.redirectUri,
    response_type: 'code',
    scope: 'openid offline_access read',
    prompt: 'consent',
    state: randomBytes(16).toString('base64url'),
    code_challenge: createHash('sha256').update(codeVerifier).digest('base64url'),
    code_challenge_method: 'S256',
  });
  const code = new URL(await server.consent(`${server.issuer}/auth?${query}`)).searchParams.get('code')!;
  return { service: 'acme', subject, code, codeVerifier, redirectUri: server.redirectUri };
}
