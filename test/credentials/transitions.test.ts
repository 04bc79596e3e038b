/** What each transition writes: every field that differs afterwards, and what the log says. */
import { describe, expect, test } from 'vitest';
import { createExchangeJob } from '../../src/shared/credentials/exchange/job.ts';
import { blockRelease } from '../../src/shared/credentials/quarantine.ts';
import { createRefreshJob } from '../../src/shared/credentials/refresh/job.ts';
import { createRevokeJob } from '../../src/shared/credentials/revocation/job.ts';
import { createRotateJob } from '../../src/shared/credentials/rotation/job.ts';
import { makeGeneration } from '../../src/shared/credentials/secret-generation.ts';
import { createRespondJob } from '../../src/shared/incidents/playbook/job.ts';
import { storeMaterial } from '../../src/shared/keys/material.ts';
import { Secret } from '../../src/shared/platform/secret.ts';
import type { Change } from '../../src/shared/store/commit.ts';
import type { CredentialDoc } from '../../src/shared/store/lifecycle/credentials.ts';
import {
  answer,
  BUSY,
  changed,
  day,
  leak,
  read,
  rotationAt,
  send,
  startWorld,
  TENANT,
  told,
} from './transitions-support.ts';

const NEVER = new AbortController().signal;
const HOUR_MS = 3_600_000;
const world = await startWorld();

const A_DATE = expect.any(Date);

const NO_SECRET_DATES = { 'due.refresh': 'gone', 'due.expire': 'gone', 'due.validate': 'gone' };
const NO_SECRET_CLAIMS = { 'claimed.refresh': 'gone', 'claimed.expire': 'gone', 'claimed.validate': 'gone' };
const NO_DATES = { ...NO_SECRET_DATES, 'due.rotate': 'gone' };

/** What a new secret changes, whatever brought it. */
const NEW_SECRET = {
  ...NO_SECRET_DATES,
  ...NO_SECRET_CLAIMS,
  expiresAt: A_DATE,
  failures: 0,
  fingerprints: expect.any(Array),
  generation: 2,
  lastError: null,
  secret: expect.any(Object),
  secretChangedAt: 'now',
  updatedAt: 'now',
};

type Act = (doc: CredentialDoc) => Promise<unknown>;
type Expected = { after: Record<string, unknown>; entries: Record<string, unknown>[] };

/** Does `act` to a credential that has something in every field, and compares all that is different then. */
async function expectOf(fields: Partial<CredentialDoc>, act: Act, { after, entries }: Expected): Promise<void> {
  answer(world, {});
  const doc = await world.seed({ ...BUSY, ...fields });
  await act(doc);
  expect(changed(doc, await read(world, doc))).toEqual(after);
  expect(await told(world, doc)).toEqual(
    entries.map((entry) => ({ outcome: 'success', reason: null, detail: {}, ...entry })),
  );
}

const importing = (more: Record<string, unknown>, workers = world.workers): Act => {
  return async ({ subject }) => {
    const data = { service: 'acme', subject, accessToken: 'key-9', kind: 'api_key', ...more };
    const id = await send(world, 'credential.import.requested', data);
    await createExchangeJob(workers).process({ eventIds: [id], reason: 'test' }, NEVER);
  };
};

const due = (doc: CredentialDoc) => ({ credentialIds: [doc._id], service: 'acme', reason: 'due' });
const refreshing: Act = (doc) => createRefreshJob(world.workers).process(due(doc), NEVER);
const rotating: Act = (doc) => createRotateJob(world.workers).process(due(doc), NEVER);

const revoking = (more: Record<string, unknown> = {}): Act => {
  return async ({ _id }) => {
    const id = await send(world, 'credential.revocation.requested', { credentialId: _id, reason: 'left', ...more });
    await createRevokeJob(world.workers).process({ eventIds: [id], reason: 'test' }, NEVER);
  };
};

const asking = (what: 'quarantine' | 'restore', reason: string): Act => {
  return ({ _id }) => world.call('POST', `/v1/credentials/${_id}/${what}`, { body: { reason } });
};

/** The playbook looks once at an incident that was opened for a leak. */
const responding: Act = async (doc) => {
  const id = await leak(world, doc);
  await createRespondJob(world.workers).process({ ids: [id], reason: 'test' }, NEVER);
};

describe('activate', () => {
  const entry = {
    type: 'credential.activated',
    by: 'principal',
    eventId: expect.any(String),
    detail: { generation: 2, cause: 'credential.import.requested', kind: 'api_key' },
  };
  const after = {
    ...NEW_SECRET,
    'due.validate': A_DATE,
    blocked: null,
    expiresAt: null,
    fence: 1,
    hasRefreshToken: false,
    interrupted: null,
    kind: 'api_key',
    scopes: [],
  };
  const blocked = { reason: 'incident inc_1', at: day(10) };

  test('makes a credential that is due for what its secret and its policy ask', async () => {
    await importing({ subject: 'new', rotateEveryDays: 10 })({ subject: 'new' } as CredentialDoc);
    const doc = await world.credential({ subject: 'new' });
    expect(doc).toMatchObject({
      state: 'active',
      generation: 1,
      due: { validate: A_DATE, rotate: new Date(doc.secretChangedAt!.getTime() + 240 * HOUR_MS) },
      claimed: {},
      policy: { rotateEveryMs: 240 * HOUR_MS },
      failures: 0,
      lastError: null,
      blocked: null,
      rotation: null,
      fence: 0,
      lease: null,
      interrupted: null,
      fingerprints: [expect.any(String)],
    });
    expect(Object.keys(doc.due).sort()).toEqual(['rotate', 'validate']);
    expect(await told(world, doc)).toMatchObject([
      { ...entry, detail: { ...entry.detail, generation: 1, from: 'pending' } },
    ]);
  });

  const noRotation = { 'due.rotate': 'gone', 'claimed.rotate': 'gone' };

  test('of an active one replaces its secret and all that it was due for', async () => {
    await expectOf({ blocked }, importing({}), { after: { ...after, ...noRotation }, entries: [entry] });
  });

  test.each(['reauthorization_required', 'quarantined', 'expired', 'revoked'] as const)(
    'of one that is %s ends that, and the block',
    async (state) => {
      await expectOf({ blocked, state }, importing({}), {
        after: { ...after, ...noRotation, state: 'active' },
        entries: [{ ...entry, detail: { ...entry.detail, from: state } }],
      });
    },
  );

  const { blocked: _, ...unblocked } = after;
  const policy = { rotateEveryMs: 240 * HOUR_MS };

  test('follows the new policy of rotation, and forgets the old one', async () => {
    await expectOf({ policy: { rotateEveryMs: HOUR_MS } }, importing({ rotateEveryDays: 10 }), {
      after: { ...unblocked, policy, 'due.rotate': A_DATE, 'claimed.rotate': 'gone' },
      entries: [entry],
    });
  });

  test('of one that is quarantined meanwhile ends that too, and says so', async () => {
    const quarantined = { type: 'credential.quarantined', by: 'principal', detail: { from: 'active', said: 'odd' } };
    const act: Act = async (doc) => {
      const isFirst = (entries: { type: string }[]) => entries[0]?.type === 'credential.activated' && !wasAsked;
      let wasAsked = false;
      const commit: typeof world.workers.commit = async (change) => {
        if (isFirst(change.entries)) {
          wasAsked = true;
          await asking('quarantine', 'odd')(doc);
        }
        return world.workers.commit(change);
      };
      await importing({}, { ...world.workers, commit })(doc);
    };
    await expectOf({}, act, {
      after: { ...unblocked, ...noRotation, fence: 3 },
      entries: [quarantined, { ...entry, detail: { ...entry.detail, from: 'quarantined' } }],
    });
  });

  test('leaves a rotation under way, and when it goes on', async () => {
    await expectOf({ rotation: await rotationAt(world, 'promoted') }, importing({ rotateEveryDays: 10 }), {
      after: { ...unblocked, policy },
      entries: [entry],
    });
  });
});

describe('refresh', () => {
  const entry = {
    type: 'credential.refreshed',
    by: 'worker',
    detail: { generation: 2, expiresAt: expect.any(String), latenessMs: 0 },
  };
  const after = { ...NEW_SECRET, 'due.refresh': A_DATE, fence: 1, interrupted: null };

  const claimed = { refresh: day(5), rotate: day(6) };
  const { 'claimed.expire': _, 'claimed.validate': __, ...afterClaim } = after;

  test('replaces the secret and its dates, and gives the lease back', async () => {
    await expectOf({ claimed }, refreshing, { after: afterClaim, entries: [entry] });
  });

  test('writes the fields that change, and no other: it happens more often than all else', async () => {
    answer(world, {});
    const [soon, long] = [new Date(Date.now() + 1_000), new Date(Date.now() - HOUR_MS)];
    const doc = await world.seed({ due: { refresh: soon }, claimed: { refresh: soon }, secretChangedAt: long });
    const operations: Change['operations'] = [];
    const commit: typeof world.workers.commit = (change) => {
      operations.push(...change.operations);
      return world.workers.commit(change);
    };
    await createRefreshJob({ ...world.workers, commit }).process(due(doc), NEVER);
    expect(operations).toEqual([
      {
        in: 'credentials',
        update: { _id: doc._id, tenantId: TENANT, state: 'active', fence: 1, generation: 1 },
        set: { $set: expect.any(Object), $unset: { 'claimed.refresh': '' } },
      },
    ]);
    const written = (operations[0] as unknown as { set: { $set: object } }).set.$set;
    expect(Object.keys(written).sort()).toEqual([
      'due.refresh',
      'expiresAt',
      'fingerprints',
      'generation',
      'lease',
      'secret',
      'secretChangedAt',
      'updatedAt',
    ]);
  });

  test('of one that is quarantined meanwhile keeps the newest token, and the quarantine: it is due for nothing', async () => {
    const act: Act = async (doc) => {
      const commit: typeof world.workers.commit = async (change) => {
        if (change.entries[0]?.type === 'credential.refreshed') await asking('quarantine', 'odd')(doc);
        return world.workers.commit(change);
      };
      await createRefreshJob({ ...world.workers, commit }).process(due(doc), NEVER);
    };
    const quarantined = {
      type: 'credential.quarantined',
      by: 'principal',
      detail: { from: 'active', said: 'odd' },
    };
    await expectOf({ claimed }, act, {
      after: { ...afterClaim, ...NO_DATES, 'claimed.rotate': 'gone', fence: 2, state: 'quarantined' },
      entries: [quarantined, { ...entry, detail: { ...entry.detail, latenessMs: null } }],
    });
  });

  test('that fails is due again, and nothing that was interrupted is settled', async () => {
    const act: Act = async (doc) => {
      answer(world, { token: { status: 503, body: {} } });
      await refreshing(doc);
    };
    await expectOf({}, act, {
      after: {
        'due.refresh': 'now',
        'claimed.refresh': 'gone',
        failures: 3,
        fence: 2,
        lastError: { code: 'provider_unavailable', at: 'now' },
        updatedAt: 'now',
      },
      entries: [
        {
          type: 'credential.refresh_failed',
          by: 'worker',
          outcome: 'failure',
          reason: 'provider_unavailable',
          detail: { failures: 3, retryInMs: expect.any(Number) },
        },
      ],
    });
  });

  describe('from the journal of a dead process', () => {
    const recovering: Act = async (doc) => {
      const reply = await makeGeneration(world.workers, world.deps.providers.get('acme'), doc, {
        material: { accessToken: new Secret('late-access'), refreshToken: new Secret('late-refresh') },
        tokenType: 'Bearer',
        expiresAt: Date.now() + HOUR_MS,
        refreshExpiresAt: null,
        scopes: null,
        metadata: {},
      });
      const action = { op: 'refresh', id: doc._id, fence: 0, holder: 'wrk_dead/1', stage: 'replied' as const, reply };
      await createRefreshJob(world.workers).recover!(action);
    };
    const recovered = { ...entry, reason: 'recovered_from_journal' };

    test('is as good as one that was committed', async () => {
      await expectOf({}, recovering, { after, entries: [recovered] });
    });

    test.each(['quarantined', 'expired', 'reauthorization_required'] as const)(
      'keeps the newest token of one that is %s, and its state: it is due for nothing',
      async (state) => {
        const lastError = { code: 'provider_grant_ended', at: day(9) } as const;
        await expectOf({ state, lastError }, recovering, {
          after: { ...after, ...NO_SECRET_DATES },
          entries: [recovered],
        });
      },
    );

    test('brings back one whose refresh token was only feared to be spent', async () => {
      const lastError = { code: 'refresh_outcome_unknown', at: day(9) } as const;
      await expectOf({ state: 'reauthorization_required', lastError }, recovering, {
        after: { ...after, state: 'active' },
        entries: [{ ...recovered, detail: { ...recovered.detail, from: 'reauthorization_required' } }],
      });
    });

    test('comes too late for one that is revoked', async () => {
      await expectOf({ state: 'revoked' }, recovering, { after: {}, entries: [] });
    });
  });
});

describe('rotate', () => {
  const entry = {
    type: 'credential.rotated',
    by: 'worker',
    detail: {
      rotationId: expect.any(String),
      rotator: 'redis-acl',
      attempt: 1,
      generation: 2,
      oldGoodUntil: expect.any(String),
    },
  };
  const after = {
    ...NEW_SECRET,
    'claimed.rotate': 'gone',
    'due.rotate': A_DATE,
    'due.validate': A_DATE,
    expiresAt: null,
    fence: 2,
    hasRefreshToken: false,
    'rotation.failures': 0,
    'rotation.pending': null,
    'rotation.previous': expect.any(Object),
    'rotation.retireAt': A_DATE,
    'rotation.step': 'promoted',
  };

  test('promotes the new secret; the old one is due at the end of the overlap', async () => {
    await expectOf({ rotation: await rotationAt(world, 'verified') }, rotating, { after, entries: [entry] });
  });

  test('of a quarantined one leaves it quarantined, and due for nothing but the end of the overlap', async () => {
    const fields = { state: 'quarantined', rotation: await rotationAt(world, 'verified') } as const;
    await expectOf(fields, rotating, { after: { ...after, ...NO_SECRET_DATES }, entries: [entry] });
  });

  test('of one that is quarantined meanwhile goes on, and leaves it quarantined', async () => {
    const quarantined = { type: 'credential.quarantined', by: 'principal', detail: { from: 'active', said: 'odd' } };
    const act: Act = async (doc) => {
      const commit: typeof world.workers.commit = async (change) => {
        if (change.entries[0]?.type === 'credential.rotated') await asking('quarantine', 'odd')(doc);
        return world.workers.commit(change);
      };
      await createRotateJob({ ...world.workers, commit }).process(due(doc), NEVER);
    };
    await expectOf({ rotation: await rotationAt(world, 'verified') }, act, {
      after: { ...after, ...NO_SECRET_DATES, state: 'quarantined' },
      entries: [quarantined, entry],
    });
  });
});

describe.each([
  ['no rotation', null],
  ['a rotation', await rotationAt(world, 'promoted')],
])('with %s under way', (_, rotation) => {
  /** At rest nothing is due but the rotation, as before, or at once when it is to be wound up. */
  const rotationGoesOn = rotation ? {} : { 'due.rotate': 'gone', 'claimed.rotate': 'gone' };
  const rotationEnds = { 'due.rotate': rotation ? 'now' : 'gone', 'claimed.rotate': 'gone' };
  const atRest = { ...NO_SECRET_DATES, ...NO_SECRET_CLAIMS, ...rotationGoesOn };
  const ended = { ...NO_SECRET_DATES, ...NO_SECRET_CLAIMS, ...rotationEnds };

  describe('require_reauthorization', () => {
    test('after a refresh that says the grant has ended', async () => {
      const act: Act = async (doc) => {
        answer(world, { token: { status: 400, body: { error: 'invalid_grant' } } });
        await refreshing(doc);
      };
      await expectOf({ rotation }, act, {
        after: {
          ...ended,
          failures: 3,
          fence: 2,
          interrupted: null,
          lastError: { code: 'provider_grant_ended', at: 'now' },
          state: 'reauthorization_required',
          updatedAt: 'now',
        },
        entries: [
          {
            type: 'credential.reauthorization_required',
            by: 'worker',
            outcome: 'failure',
            reason: 'provider_grant_ended',
            detail: { from: 'active', failures: 3, retryInMs: null },
          },
        ],
      });
    });

    test('after a validation that found the token dead', async () => {
      const act: Act = async (doc) => {
        answer(world, { active: false });
        await refreshing(doc);
      };
      const claimed = { validate: day(8) };
      await expectOf({ rotation, claimed, hasRefreshToken: false, expiresAt: null }, act, {
        after: {
          ...NO_SECRET_DATES,
          'due.rotate': rotationEnds['due.rotate'],
          'claimed.validate': 'gone',
          fence: 1,
          interrupted: null,
          state: 'reauthorization_required',
          updatedAt: 'now',
        },
        entries: [
          {
            type: 'credential.reauthorization_required',
            by: 'worker',
            reason: 'found_inactive',
            detail: { from: 'active', expiresAt: null },
          },
        ],
      });
    });

    test('after the playbook has ended the secret; the block stays', async () => {
      const act: Act = async (doc) => {
        answer(world, { active: false });
        await responding(doc);
      };
      const about = { by: 'worker', reason: 'compromise', incidentId: expect.any(String) };
      await expectOf({ rotation }, act, {
        after: {
          ...ended,
          blocked: { reason: expect.stringMatching(/^incident inc_/), at: 'now' },
          fence: 2,
          fingerprints: [],
          interrupted: null,
          lastError: null,
          state: 'reauthorization_required',
          updatedAt: 'now',
        },
        entries: [
          { ...about, type: 'credential.quarantined', detail: { from: 'active' } },
          {
            ...about,
            type: 'credential.reauthorization_required',
            detail: { from: 'quarantined', kind: 'oauth2' },
          },
        ],
      });
    });
  });

  describe('expire', () => {
    test('at the end of the secret', async () => {
      const claimed = { expire: day(8), rotate: day(6) };
      const expiresAt = new Date(Date.now() - 1_000);
      await expectOf({ rotation, claimed, hasRefreshToken: false, expiresAt }, refreshing, {
        after: {
          ...NO_SECRET_DATES,
          ...rotationEnds,
          'claimed.expire': 'gone',
          fence: 1,
          interrupted: null,
          state: 'expired',
          updatedAt: 'now',
        },
        entries: [
          {
            type: 'credential.expired',
            by: 'worker',
            detail: { from: 'active', expiresAt: expiresAt.toISOString() },
          },
        ],
      });
    });

    test('of a key that the provider calls dead', async () => {
      const act: Act = async (doc) => {
        answer(world, { active: false });
        await refreshing(doc);
      };
      const claimed = { validate: day(8) };
      await expectOf({ rotation, claimed, kind: 'api_key', hasRefreshToken: false, expiresAt: null }, act, {
        after: {
          ...NO_SECRET_DATES,
          'due.rotate': rotationEnds['due.rotate'],
          'claimed.validate': 'gone',
          fence: 1,
          interrupted: null,
          state: 'expired',
          updatedAt: 'now',
        },
        entries: [
          {
            type: 'credential.expired',
            by: 'worker',
            reason: 'found_inactive',
            detail: { from: 'active', expiresAt: null },
          },
        ],
      });
    });
  });

  describe.each(['active', 'reauthorization_required', 'expired'] as const)('quarantine of one that is %s', (state) => {
    test('by a person', async () => {
      await expectOf({ rotation, state }, asking('quarantine', 'odd'), {
        after: { ...atRest, state: 'quarantined', updatedAt: 'now' },
        entries: [{ type: 'credential.quarantined', by: 'principal', detail: { from: state, said: 'odd' } }],
      });
    });

    test('by a containment', async () => {
      const act: Act = ({ _id }) => {
        const actor = { kind: 'system' as const, id: 'test', ip: null, userAgent: null };
        return blockRelease(
          world.workers,
          { tenantId: TENANT, credentialId: _id },
          { reason: 'incident inc_2', actor },
        );
      };
      await expectOf({ rotation, state }, act, {
        after: {
          ...atRest,
          blocked: { reason: 'incident inc_2', at: 'now' },
          state: 'quarantined',
          updatedAt: 'now',
        },
        entries: [{ type: 'credential.quarantined', by: 'system', reason: 'compromise', detail: { from: state } }],
      });
    });

    test('by a revocation whose provider does not answer', async () => {
      const act: Act = async (doc) => {
        world.stub.always({ status: 503, body: {} });
        await revoking()(doc);
      };
      await expectOf({ rotation, state }, act, {
        after: {
          ...ended,
          blocked: { reason: 'revocation', at: 'now' },
          fence: 2,
          state: 'quarantined',
          updatedAt: 'now',
        },
        entries: [
          {
            type: 'credential.quarantined',
            by: 'principal',
            reason: 'left',
            detail: { from: state },
            eventId: expect.any(String),
          },
        ],
      });
    });
  });

  describe('quarantine of one that is quarantined already', () => {
    const blocked = { reason: 'incident inc_1', at: day(10) };

    test('is refused to a person, and nothing to do for a containment', async () => {
      const refused: Act = async (doc) => {
        expect((await world.call('POST', `/v1/credentials/${doc._id}/quarantine`)).status).toBe(409);
      };
      await expectOf({ rotation, blocked, state: 'quarantined' }, refused, { after: {}, entries: [] });
    });

    test('by the playbook names the incident that holds it from then on', async () => {
      const act: Act = async (doc) => {
        world.stub.always({ status: 503, body: {} });
        await responding(doc);
      };
      await expectOf({ rotation, blocked, state: 'quarantined' }, act, {
        after: {
          ...atRest,
          blocked: { reason: expect.stringMatching(/^incident inc_0/), at: 'now' },
          fence: 2,
          updatedAt: 'now',
        },
        entries: [],
      });
    });
  });

  describe('restore', () => {
    const restored = { type: 'credential.restored', by: 'principal' };
    const policy = { rotateEveryMs: HOUR_MS };

    test.each([
      ['that can be refreshed', {}, { 'due.refresh': 'now' }],
      ['without an end', { hasRefreshToken: false, expiresAt: null }, { 'due.validate': 'now' }],
      ['with an end', { hasRefreshToken: false }, { 'due.expire': A_DATE }],
    ])('by a person looks after a secret %s, and follows the policy', async (_, fields, dates) => {
      const rest = { state: 'quarantined', due: rotation ? { rotate: day(2) } : {}, claimed: {}, policy } as const;
      await expectOf({ rotation, ...rest, ...fields }, asking('restore', 'fine'), {
        after: { ...dates, ...(!rotation && { 'due.rotate': A_DATE }), state: 'active', updatedAt: 'now' },
        entries: [{ ...restored, detail: { from: 'quarantined', said: 'fine' } }],
      });
    });

    const resolving = (resolution: string): Act => {
      return async (doc) => {
        const id = await leak(world, doc);
        const blocked = { reason: `incident ${id}`, at: day(10) };
        await world.deps.database.collection('credentials').updateOne({ _id: doc._id }, { $set: { blocked } });
        await world.call('POST', `/v1/incidents/${id}/resolve`, { body: { resolution } });
      };
    };

    test('by a false alarm ends the block', async () => {
      await expectOf({ rotation, state: 'quarantined' }, resolving('false_alarm'), {
        after: { ...atRest, 'due.refresh': 'now', state: 'active', updatedAt: 'now' },
        entries: [{ ...restored, reason: 'false_alarm', detail: { from: 'quarantined' } }],
      });
    });

    test('is left to a person when an incident was handled: only the block ends', async () => {
      await expectOf({ rotation, state: 'quarantined' }, resolving('handled'), {
        after: { ...atRest, updatedAt: 'now' },
        entries: [],
      });
    });
  });

  describe('revoke', () => {
    test.each(['pending', 'active', 'reauthorization_required', 'expired', 'quarantined'] as const)(
      'of one that is %s stops its release first',
      async (state) => {
        const about = { by: 'principal', reason: 'left', eventId: expect.any(String) };
        const stops = state !== 'quarantined' && state !== 'pending';
        await expectOf({ rotation, state }, revoking(), {
          after: {
            ...ended,
            blocked: { reason: 'revocation', at: 'now' },
            fence: 2,
            state: 'revoked',
            updatedAt: 'now',
          },
          entries: [
            ...(stops ? [{ ...about, type: 'credential.quarantined', detail: { from: state } }] : []),
            {
              ...about,
              type: 'credential.revoked',
              detail: { from: stops ? 'quarantined' : state, provider: 'revoked', verdict: 'active' },
            },
          ],
        });
      },
    );
  });

  test('destroy deletes the secret and what would find it', async () => {
    await expectOf({ rotation, state: 'revoked' }, revoking({ destroy: true }), {
      after: {
        ...ended,
        blocked: { reason: 'revocation', at: 'now' },
        fence: 2,
        fingerprints: [],
        hasRefreshToken: false,
        secret: null,
        state: 'destroyed',
        updatedAt: 'now',
      },
      entries: [
        {
          type: 'credential.destroyed',
          by: 'principal',
          reason: 'left',
          detail: { from: 'revoked' },
          eventId: expect.any(String),
        },
      ],
    });
  });
});

test('a rotation that begins while its credential is quarantined is still due', async () => {
  const rotation = await rotationAt(world, 'planned');
  const actor = { kind: 'system' as const, id: 'test', ip: null, userAgent: null };
  const act: Act = async ({ _id }) => {
    const credentials = world.deps.database.collection('credentials');
    const commit: typeof world.workers.commit = async (change) => {
      await credentials.updateOne({ _id, rotation: null }, { $set: { rotation, 'due.rotate': day(20) } });
      return world.workers.commit(change);
    };
    const quarantine = { reason: 'incident inc_2', actor };
    await blockRelease({ ...world.workers, commit }, { tenantId: TENANT, credentialId: _id }, quarantine);
  };
  await expectOf({ claimed: {} }, act, {
    after: {
      ...NO_SECRET_DATES,
      'due.rotate': day(20),
      blocked: { reason: 'incident inc_2', at: 'now' },
      rotation: 'gone',
      ...Object.fromEntries(Object.entries(rotation).map(([name, value]) => [`rotation.${name}`, value])),
      state: 'quarantined',
      updatedAt: 'now',
    },
    entries: [{ type: 'credential.quarantined', by: 'system', reason: 'compromise', detail: { from: 'active' } }],
  });
});

test('restore by the playbook, once a rotation has replaced the leaked secret', async () => {
  const act: Act = async (doc) => {
    const id = await leak(world, doc);
    const run = () => createRespondJob(world.workers).process({ ids: [id], reason: 'test' }, NEVER);
    await run();
    const secret = await storeMaterial(world.deps, doc, 2, { accessToken: new Secret('rotated') });
    const fingerprints = ['new', ...doc.fingerprints];
    const rotated = { secret, generation: 2, fingerprints, secretChangedAt: new Date() };
    await world.deps.database.collection('credentials').updateOne({ _id: doc._id }, { $set: rotated });
    await run();
  };
  const about = { by: 'worker', incidentId: expect.any(String) };
  const fields = {
    kind: 'password',
    metadata: { rotator: 'redis-acl' },
    hasRefreshToken: false,
    expiresAt: null,
  } as const;
  await expectOf(fields, act, {
    after: {
      ...NO_DATES,
      ...NO_SECRET_CLAIMS,
      'claimed.rotate': 'gone',
      'due.validate': A_DATE,
      fingerprints: ['new'],
      generation: 2,
      secret: expect.any(Object),
      secretChangedAt: 'now',
      updatedAt: 'now',
    },
    entries: [
      { ...about, type: 'credential.quarantined', reason: 'compromise', detail: { from: 'active' } },
      { ...about, type: 'credential.restored', reason: 'rotated', detail: { from: 'quarantined' } },
    ],
  });
});
