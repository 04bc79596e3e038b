import { z } from 'zod';
import { publicKeys, signingKey } from '../../../shared/keys/signing-keys.ts';
import type { Api, App } from '../../http/context.ts';

const tags = ['shared signals'];

/** `/.well-known/…`: what receivers of signed events are set up from, and producers of sealed jobs. Open to anyone. */
export function sharedSignalRoutes(app: App, api: Api): void {
  publicKeysRoute(app, api);
  transmitterRoute(app, api);
}

function publicKeysRoute(app: App, { deps }: Api): void {
  app.get(
    '/.well-known/jwks.json',
    {
      config: { open: true },
      schema: {
        tags,
        summary:
          'Public keys of security event tokens and checkpoints, and the one to encrypt to for the intake queue (RFC 7517)',
        response: { 200: z.object({ keys: z.array(z.record(z.string(), z.string())) }) },
      },
    },
    async (_, reply) => {
      reply.header('cache-control', 'public, max-age=60');
      // Receivers and producers are set up before there was anything to sign or to open: the keys are made now.
      for (const use of ['set', 'checkpoint', 'intake'] as const) await signingKey(deps, use);
      return publicKeys(deps);
    },
  );
}

function transmitterRoute(app: App, { publicUrl }: Api): void {
  app.get(
    '/.well-known/ssf-configuration',
    {
      config: { open: true },
      schema: {
        tags,
        summary: 'Transmitter configuration (OpenID Shared Signals Framework 1.0)',
        response: { 200: z.record(z.string(), z.unknown()) },
      },
    },
    async () => ({
      spec_version: '1_0',
      issuer: publicUrl(),
      jwks_uri: `${publicUrl()}/.well-known/jwks.json`,
      delivery_methods_supported: ['urn:ietf:rfc:8935'],
      authorization_schemes: [{ spec_urn: 'urn:ietf:rfc:6750' }],
      default_subjects: 'ALL',
    }),
  );
}
