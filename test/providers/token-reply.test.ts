import { expect, test } from 'vitest';
import { readTokenReply } from '../../src/shared/providers/token-reply.ts';

const context = { service: 'slack', operation: 'exchange', nowMs: 1_000 } as const;

test('tokens at another path, scopes by comma, expiry in milliseconds and nested metadata are read', () => {
  const raw = {
    ok: true,
    team: { id: 'T1', is_enterprise: false },
    authed_user: { access_token: 'xoxp-1', scope: 'chat:write,users:read', expires_in: 60_000 },
  };
  const quirks = {
    tokenPath: ['authed_user'],
    scopeSeparator: ',',
    expiryUnit: 'milliseconds',
    metadata: ['team.id', 'team.is_enterprise', 'team.absent', 'authed_user'],
  } as const;
  const reply = readTokenReply(raw, { ...quirks, tokenPath: ['authed_user'], metadata: [...quirks.metadata] }, context);
  expect(reply).toMatchObject({
    expiresAt: 61_000,
    scopes: ['chat:write', 'users:read'],
    metadata: { team_id: 'T1', team_is_enterprise: 'false' },
  });
  expect(Object.keys(reply.metadata)).toEqual(['team_id', 'team_is_enterprise']);
});

test('members of the prototype are no fields of a reply', () => {
  const quirks = { scopeSeparator: ' ', tokenPath: ['constructor'] };
  expect(() => readTokenReply({ ok: true }, quirks, context)).toThrow('does not answer as it should');
});
