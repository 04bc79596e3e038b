/** A provider whose every token is a canary. */
import type { StubCall, StubReply } from '../../../testkit/providers/stub-provider.ts';
import { type Canaries, newCanary } from './canaries.ts';

/** A provider that is as bad as it gets: what it does not like it quotes, with all that it was sent. */
export const ECHOES: [string, (echo: string) => StubReply][] = [
  ['bad400', (echo) => ({ status: 400, body: { error: 'invalid_grant', error_description: echo } })],
  ['bad401', (echo) => ({ status: 401, headers: { 'www-authenticate': echo }, body: { error: echo } })],
  ['bad500', (echo) => ({ status: 500, headers: { 'content-type': 'text/html' }, body: `<h1>${echo}</h1>` })],
  ['bad200', (echo) => ({ status: 200, body: { error: echo, detail: echo } })],
  ['badform', (echo) => ({ status: 200, headers: { 'content-type': 'text/plain' }, body: echo })],
];

/** The answer of the provider; a mark in what it was sent chooses one of `ECHOES`. */
export function answerWithCanaries(canaries: Canaries, { path, form, headers }: StubCall): StubReply {
  const { code, code_verifier: verifier, refresh_token: refresh, token } = form;
  if (verifier) canaries.set(`verifier of ${code}`, verifier);
  const echo = JSON.stringify({ form, authorization: headers.authorization, basic: basicOf(headers.authorization) });
  const asked = [code, refresh, token].join(' ');
  const bad = ECHOES.find(([mark]) => asked.includes(mark));
  if (bad) return bad[1](echo);
  if (path === '/introspect') return { body: { active: true } };
  if (path === '/revoke') return { body: {} };
  const number = canaries.size;
  return {
    body: {
      access_token: newCanary(canaries, `access-${number}`),
      refresh_token: newCanary(canaries, `refresh-${number}`),
      id_token: newCanary(canaries, `id-token-${number}`),
      token_type: 'Bearer',
      expires_in: 3600,
      scope: 'read',
    },
  };
}

function basicOf(header: string | string[] | undefined): string {
  return Buffer.from(String(header).replace('Basic ', ''), 'base64').toString();
}
