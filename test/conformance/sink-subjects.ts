import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Queue } from 'bullmq';
import { decodeJwt } from 'jose';
import { outboxPrefix } from '../../src/shared/delivery/sinks/plugins/bullmq.ts';
import { startReceiver } from '../../testkit/servers/receiver.ts';

/** A consumer for the conformance suite of sinks: a new sink adds a row here. */
export type SinkSubject = {
  settings: Record<string, unknown>;
  /** What the sink is given in place of these when its consumer is to be down. */
  down: { settings?: Record<string, unknown>; env?: Record<string, string> };
  /** Settings of a consumer that takes a call and never answers; absent where there is no such thing. */
  hung?: Record<string, unknown>;
  /** Ids of the messages that the consumer has, each once for every time. */
  ids(): Promise<string[]> | string[];
  stop(): Promise<void>;
};

type Given = { env: Record<string, string>; tenantId: string };

const NOBODY = 'http://127.0.0.1:9';

export const SINK_SUBJECTS: Record<string, (given: Given) => Promise<SinkSubject>> = {
  webhook: async () => {
    const receiver = await startReceiver();
    receiver.answer('/hung', 'hang');
    return {
      settings: { url: `${receiver.url}/in` },
      down: { settings: { url: NOBODY } },
      hung: { url: `${receiver.url}/hung` },
      ids: () =>
        receiver.received.filter(({ path }) => path === '/in').map(({ headers }) => String(headers['webhook-id'])),
      stop: receiver.stop,
    };
  },

  'ssf-push': async () => {
    const receiver = await startReceiver();
    receiver.answer('/in', { status: 202 });
    receiver.answer('/hung', 'hang');
    const audience = 'https://receiver.example';
    return {
      settings: { url: `${receiver.url}/in`, audience },
      down: { settings: { url: NOBODY, audience } },
      hung: { url: `${receiver.url}/hung`, audience },
      ids: () => receiver.received.filter(({ path }) => path === '/in').map(({ body }) => String(decodeJwt(body).jti)),
      stop: receiver.stop,
    };
  },

  bullmq: async ({ env, tenantId }) => {
    const prefix = outboxPrefix(env.KEYTURN_QUEUE_PREFIX!, tenantId);
    const queue = new Queue('automation', { connection: { url: env.REDIS_URL! }, prefix });
    return {
      settings: { queue: 'automation' },
      down: { env: { REDIS_URL: 'redis://127.0.0.1:9' } },
      ids: async () => (await queue.getWaiting()).map((job) => String(job.data.id)),
      stop: async () => {
        await queue.obliterate({ force: true });
        await queue.close();
      },
    };
  },

  'ocsf-jsonl': async ({ env }) => {
    const folder = env.KEYTURN_OCSF_DIR!;
    const file = `${folder}-file`;
    writeFileSync(file, '');
    return {
      settings: {},
      down: { env: { KEYTURN_OCSF_DIR: file } },
      ids: () =>
        readdirSync(folder).flatMap((name) =>
          readFileSync(`${folder}/${name}`, 'utf8')
            .trimEnd()
            .split('\n')
            .map((line) => JSON.parse(line).metadata.uid),
        ),
      stop: async () => {},
    };
  },
};
