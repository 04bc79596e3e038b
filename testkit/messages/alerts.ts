import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { serveOnLoopback } from '../../local/tools/loopback.ts';
import { signedHeaders } from './signed.ts';

export type SignedRequest = { body: string; headers: Record<string, string> };

/** A delivery to a `generic` source. `atMs`: when it was signed. */
export function genericAlert(
  secret: string,
  leak: unknown,
  { id = `msg_${randomBytes(8).toString('hex')}`, atMs = Date.now() } = {},
): SignedRequest {
  const body = JSON.stringify(leak);
  const signature = signedHeaders(body, { secret, id, at: new Date(atMs) });
  return { body, headers: { 'content-type': 'application/json', ...signature } };
}

/** A delivery of GitHub's webhook. */
export function githubAlert(secret: string, payload: unknown, event = 'secret_scanning_alert'): SignedRequest {
  const body = JSON.stringify(payload);
  return {
    body,
    headers: {
      'content-type': 'application/json',
      'x-github-event': event,
      'x-github-delivery': randomBytes(16).toString('hex'),
      'x-hub-signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
    },
  };
}

/** The partner programme's side: a key, and the server that publishes it. */
export type PartnerStub = {
  readonly url: string;
  /** How often the keys were fetched. */
  fetched(): number;
  /** More keys to publish, as in GitHub's reply. */
  publish(id: string, publicKeyPem: string): void;
  sign(tokens: unknown, keyId?: string): SignedRequest;
  stop(): Promise<void>;
};

/** Publishes a fresh key on loopback and signs with it. */
export async function startPartner(): Promise<PartnerStub> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const own = 'a'.repeat(64);
  const keys = [{ key_identifier: own, key: publicKey.export({ type: 'spki', format: 'pem' }), is_current: true }];
  let fetched = 0;
  const { url, stop } = await serveOnLoopback((_, response) => {
    fetched += 1;
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ public_keys: keys }));
  });
  return {
    url: `${url}/keys`,
    fetched: () => fetched,
    publish: (id, pem) => void keys.push({ key_identifier: id, key: pem, is_current: false }),
    sign: (tokens, keyId = own) => {
      const body = JSON.stringify(tokens);
      return {
        body,
        headers: {
          'content-type': 'application/json',
          'github-public-key-identifier': keyId,
          'github-public-key-signature': sign('sha256', Buffer.from(body), privateKey).toString('base64'),
        },
      };
    },
    stop,
  };
}
