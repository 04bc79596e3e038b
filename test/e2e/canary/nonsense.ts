import type { Caller } from '../../../testkit/messages/caller.ts';
import { BATCH, STRUCTURED } from '../../../testkit/messages/events.ts';
import { newApiKey } from '../support.ts';
import { type Canaries, newCanary } from './canaries.ts';

/** Bodies, headers and paths that are wrong, each with a secret in it. */
export async function sendNonsense(canaries: Canaries, callAs: (key?: string) => Caller): Promise<void> {
  const call = callAs();
  const secret = newCanary(canaries, 'in-nonsense');
  const event = { specversion: '1.0', id: 'nonsense', source: 'urn:canary', type: 'credential.import.requested' };
  const post = (body: unknown, headers: Record<string, string> = STRUCTURED) =>
    call('POST', '/v1/events', body, headers);
  await post(`{"data": {"accessToken": "${secret}`);
  await post({ ...event, data: { service: 'stub', subject: 's', accessToken: [secret], refreshToken: { secret } } });
  await post({ ...event, data: { service: secret, subject: 's', accessToken: secret } });
  await post({ ...event, data: { service: 'stub', subject: 's', accessToken: secret, kind: secret } });
  await post({ ...event, data: secret });
  await post({ ...event, specversion: secret, time: secret, data: { accessToken: secret } });
  await post([{ ...event, data: { accessToken: secret } }, secret], BATCH);
  await post({ accessToken: secret }, { 'content-type': 'application/xml' });
  await post({ ...event, data: { accessToken: secret.repeat(300_000) } });
  await call('POST', '/v1/principals', { name: 'x', permissions: [secret] });
  await call('GET', `/v1/events?token=${secret}`);
  await call('GET', `/v1/oauth/callback?code=${secret}&state=${secret}`);
  await call('GET', `/v1/oauth/start/${secret}`);
  await call('GET', `/v1/credentials?cursor=${secret}.`);
  const wrongKey = newApiKey();
  canaries.set('a wrong key', wrongKey);
  await callAs(wrongKey)('GET', '/v1/credentials');
  await callAs(`${secret} with spaces`)('GET', '/v1/credentials');
}
