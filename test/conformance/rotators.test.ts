import { inspect } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { loadRotators } from '../../src/shared/credentials/rotation/rotators/catalogue.ts';
import type { HeldSecret, RotationCall, Rotator } from '../../src/shared/credentials/rotation/rotators/contract.ts';
import { systemClock } from '../../src/shared/platform/clock.ts';
import { AppError } from '../../src/shared/platform/errors.ts';
import { systemRandom } from '../../src/shared/platform/random.ts';
import { Secret } from '../../src/shared/platform/secret.ts';
import { type Imported, ROTATOR_SUBJECTS, type RotatorSubject } from '../../testkit/providers/rotator-subjects.ts';

/** Of one call to the other side: long, so that a slow machine is not taken for one that does not answer. */
const TIMEOUT_MS = 30_000;
const rotators = await loadRotators();

function held({ accessToken, registrationAccessToken, metadata }: Imported): HeldSecret {
  return {
    material: {
      accessToken: new Secret(accessToken),
      ...(registrationAccessToken && { registrationAccessToken: new Secret(registrationAccessToken) }),
    },
    metadata,
  };
}

function callFor({ credential, admin }: RotatorSubject, more: Partial<RotationCall> = {}): RotationCall {
  const metadata = { ...credential.metadata, ...(admin && { admin_credential_id: 'cred_admin' }) };
  return {
    credential: { _id: 'cred_1', tenantId: 'ten_a', service: 'acme', subject: 's', kind: credential.kind, metadata },
    current: held(credential),
    admin: admin && held(admin),
    random: systemRandom,
    clock: systemClock,
    timeoutMs: TIMEOUT_MS,
    signal: new AbortController().signal,
    ...more,
  };
}

/** As the secret is after its promotion. */
function merged(call: RotationCall, next: HeldSecret): HeldSecret {
  return { material: next.material, metadata: { ...call.credential.metadata, ...next.metadata } };
}

const plain = ({ material }: HeldSecret) => material.accessToken.reveal();

test('every rotator has a real other side to be held against', () => {
  expect(Object.keys(ROTATOR_SUBJECTS).sort()).toEqual([...rotators.keys()].sort());
});

describe.each([...rotators])('%s', async (name, rotator: Rotator) => {
  const open = async () => {
    const subject = await ROTATOR_SUBJECTS[name]!();
    afterAll(() => subject.stop());
    return {
      subject,
      call: callFor(subject),
      good: (one: HeldSecret) => subject.authenticates(plain(one), one.metadata),
    };
  };

  test('describes itself', async () => {
    const { call } = await open();
    expect(rotator.name).toBe(name);
    expect(rotator.about).not.toBe('');
    for (const meaning of Object.values({ ...rotator.needs, ...rotator.adminNeeds })) expect(meaning).not.toBe('');
    expect(rotator.appliesTo(call.credential)).toBe(true);
    expect(rotator.appliesTo({ ...call.credential, kind: 'oauth2' })).toBe(false);
    expect(rotator.appliesTo({ ...call.credential, metadata: {} })).toBe(false);
  });

  test('every secret that it mints is a new one, and its metadata hold none', async () => {
    const { call } = await open();
    const minted = [await rotator.mint(call), await rotator.mint(call)];
    expect(new Set([plain(call.current!), ...minted.map(plain)]).size).toBe(3);
    for (const one of minted) expect(JSON.stringify(one.metadata)).not.toContain(plain(one));
    for (const one of minted) await rotator.retire(call, merged(call, one));
  });

  test('the new secret is good beside the old one, each call may be made twice, and only what is retired ends', async () => {
    const { call, good } = await open();
    const old = { ...call.current!, metadata: call.credential.metadata };
    const next = merged(call, await rotator.mint(call));
    for (let round = 0; round < 2; round += 1) await rotator.apply(call, next);
    expect(await rotator.verify(call, next)).toBe(true);
    expect([await good(old), await good(next)]).toEqual([true, true]);
    const after = { ...call, current: next };
    for (let round = 0; round < 2; round += 1) await rotator.retire(after, old);
    expect([await good(old), await good(next)]).toEqual([false, true]);
    expect(await rotator.verify(after, old)).toBe(false);
  });

  test('a secret that was minted and never applied can be retired, and the old one stays good', async () => {
    const { call, good } = await open();
    const next = merged(call, await rotator.mint(call));
    await rotator.retire(call, next);
    expect(await good(next)).toBe(false);
    expect(await good(call.current!)).toBe(true);
  });

  test('a secret of nobody is not accepted', async () => {
    const { call } = await open();
    const wrong = { ...call.current!, material: { ...call.current!.material, accessToken: new Secret('wrong') } };
    expect(await rotator.verify(call, wrong)).toBe(false);
  });

  const steps: Record<string, (call: RotationCall, next: HeldSecret) => Promise<unknown>> = {
    mint: (call) => rotator.mint(call),
    apply: (call, next) => rotator.apply(call, next),
    verify: (call, next) => rotator.verify(call, next),
    retire: (call, next) => rotator.retire(call, next),
  };

  test.each(['down', 'silent'] as const)(
    'an other side that is %s costs bounded time, and the error tells nothing',
    async (how) => {
      const { subject, call } = await open();
      const next = merged(call, await rotator.mint(call));
      if (how === 'down') await subject.proxy.down();
      else subject.proxy.blackHole(true);
      const short = { ...call, timeoutMs: 500 };
      for (const step of Object.values(steps)) {
        const error = await step(short, next).then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        if (error === undefined) continue;
        expect(error).toBeInstanceOf(AppError);
        expect((error as AppError).code).toBe('provider_unavailable');
        const text = inspect(error, { depth: 20, showHidden: true }) + JSON.stringify(error);
        for (const secret of [call.current!, call.admin ?? call.current!, next])
          expect(text).not.toContain(plain(secret));
      }
      if (how === 'down') await subject.proxy.up();
    },
  );

  test('a call that is interrupted ends with that word; a secret that exists once is waited for', async () => {
    const { subject, call } = await open();
    const next = merged(call, await rotator.mint(call));
    const interrupted = callFor(subject, { signal: AbortSignal.abort() });
    for (const step of ['apply', 'verify', 'retire']) {
      const error = await steps[step]!(interrupted, next).then(
        () => undefined,
        (thrown: unknown) => thrown as AppError,
      );
      if (step !== 'apply') expect(error?.code).toBe('interrupted');
    }
  });

  test('without its metadata it refuses with what to do', async () => {
    const { call } = await open();
    const bare = {
      ...call,
      credential: { ...call.credential, metadata: {} },
      current: { ...call.current!, metadata: {} },
    };
    const error = await rotator.mint(bare).then(
      () => undefined,
      (thrown: unknown) => thrown as AppError,
    );
    expect(error).toMatchObject({ code: 'provider_misconfigured', detail: expect.stringContaining('metadata') });
  });
});
