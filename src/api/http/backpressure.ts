/**
 * What keeps intake from taking more than can be held: bodies under way in this process, and events of a tenant that nobody
 * has settled yet. Refused before the body is read, with 429 and Retry-After.
 */
import { finished } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '../../shared/platform/errors.ts';
import type { Deps } from '../../shared/runtime/deps.ts';
import type { EventStatus } from '../../shared/store/lifecycle/events.ts';
import { callerOf } from './context.ts';

export type Backpressure = {
  /** A hook for after the caller is known. Throws `overloaded`. */
  admit(request: FastifyRequest, reply: FastifyReply): Promise<void>;
  /** So many events of a tenant were accepted. */
  accepted(tenantId: string, count: number): void;
};

/** Bodies that one process reads and works on at once. Parsed and sealed they take several times their size. */
const MAX_BYTES = 32 * 1024 * 1024;
/** A body of unknown length counts as this. */
const UNKNOWN_BYTES = 256 * 1024;
const BUSY_RETRY_MS = 1_000;

/** How long a count of a tenant's backlog is good; what this process accepts meanwhile is added. */
const COUNT_FOR_MS = 3_000;
const BACKLOG_RETRY_MS = 5_000;
const MAX_TENANTS = 10_000;
const OPEN: EventStatus[] = ['accepted', 'processing'];

type Backlog = { count: number; until: number; counting: Promise<void> | null };

/** The bounds of one process. A tenant's backlog is counted by index, at most once in a few seconds, up to the limit. */
export function makeBackpressure(deps: Pick<Deps, 'clock' | 'database' | 'config' | 'log'>): Backpressure {
  const backlogs = new Map<string, Backlog>();
  let bytesUnderWay = 0;

  const reserve = (request: FastifyRequest, reply: FastifyReply) => {
    const bytes = Number(request.headers['content-length'] ?? UNKNOWN_BYTES);
    // One that is too large for all of it is let in alone: the body limit judges it.
    if (bytesUnderWay > 0 && bytesUnderWay + bytes > MAX_BYTES) {
      throw new AppError('overloaded', { detail: 'Too much is being taken in at once.', retryAfterMs: BUSY_RETRY_MS });
    }
    bytesUnderWay += bytes;
    finished(reply.raw, () => {
      bytesUnderWay -= bytes;
    });
  };

  return {
    admit: async (request, reply) => {
      reserve(request, reply);
      const { tenantId } = callerOf(request);
      const backlog = await currentBacklog(deps, backlogs, tenantId);
      const limit = deps.config.backlogLimit;
      if (backlog.count < limit) return;
      throw new AppError('overloaded', {
        detail: `${limit} events of this tenant are not settled yet; wait until some are.`,
        retryAfterMs: BACKLOG_RETRY_MS,
      });
    },
    accepted: (tenantId, count) => {
      const backlog = backlogs.get(tenantId);
      if (backlog) backlog.count += count;
    },
  };
}

/** The first caller waits for the count; later ones get the last one while it is renewed. */
async function currentBacklog(
  deps: Pick<Deps, 'clock' | 'database' | 'config' | 'log'>,
  backlogs: Map<string, Backlog>,
  tenantId: string,
): Promise<Backlog> {
  const known = backlogs.get(tenantId);
  const backlog = known ?? { count: 0, until: 0, counting: null };
  if (!known) {
    if (backlogs.size >= MAX_TENANTS) backlogs.delete(backlogs.keys().next().value!);
    backlogs.set(tenantId, backlog);
  }
  if (backlog.until <= deps.clock.now()) {
    backlog.counting ??= count(deps, tenantId, backlog).finally(() => {
      backlog.counting = null;
    });
  }
  if (!known && backlog.counting) await backlog.counting;
  return backlog;
}

async function count(
  { database, config, clock, log }: Pick<Deps, 'clock' | 'database' | 'config' | 'log'>,
  tenantId: string,
  backlog: Backlog,
): Promise<void> {
  try {
    const events = database.collection('events');
    const limit = config.backlogLimit;
    backlog.count = await events.countDocuments({ tenantId, status: { $in: OPEN } }, { limit });
  } catch (err) {
    // Intake itself will say that the database is away.
    log.warn({ err }, 'the backlog could not be counted');
  }
  backlog.until = clock.now() + COUNT_FOR_MS;
}
