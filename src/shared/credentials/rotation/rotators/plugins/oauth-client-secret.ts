/**
 * Secrets of OAuth clients at a server with dynamic registration (RFC 7591, RFC 7592). A client has one secret, and a
 * server that changes it ends the old one at once, or, as oidc-provider, never changes it. So the slots are two clients: a
 * twin with the same metadata is registered, promoted with its client id, and the old client is deleted after the overlap.
 * A client that people have consented to is refused: their grants are bound to its id and would end with it.
 */
import { AppError } from '../../../../platform/errors.ts';
import { Secret } from '../../../../platform/secret.ts';
import { isSecureUrl } from '../../../../providers/settings.ts';
import type { HeldSecret, RotationCall, Rotator } from '../contract.ts';
import {
  authenticates,
  type ClientConfiguration,
  deleteClient,
  readClient,
  registerClient,
} from '../registration-client.ts';

/** Fields that the server gives out (RFC 7591 §3.2.1, RFC 7592 §3): they do not belong in a request. */
const GIVEN_OUT = [
  'client_id',
  'client_secret',
  'client_id_issued_at',
  'client_secret_expires_at',
  'registration_access_token',
  'registration_client_uri',
];

const AUTH_METHODS = ['client_secret_basic', 'client_secret_post'];

export const plugin: Rotator = {
  name: 'oauth-client-secret',
  about: 'client secret at an OAuth server with dynamic registration: a twin takes the place of the client',
  needs: {
    client_id: 'the client; it changes with every rotation and is released together with the secret',
    registration_client_uri:
      'RFC 7592 §3, as the server gave it out; the registration access token is imported beside the secret',
    token_url: 'token endpoint; the new client must get a token there by the client-credentials grant',
    registration_endpoint: 'RFC 7591 §3; not needed where an admin credential names it',
    admin_credential_id:
      'a credential of the same service that is the initial access token, where the server wants one',
  },
  adminNeeds: { registration_endpoint: 'where the initial access token may be sent' },
  mintedBy: 'provider',
  appliesTo: ({ kind, metadata }) => kind === 'client_secret' && metadata.registration_client_uri !== undefined,

  async mint(call) {
    if (!call.current) throw new AppError('credential_pending');
    const present = await readClient(call, placeOf(call.current));
    assertMachine(present);
    const body = Object.fromEntries(
      Object.entries(present).filter(([field, value]) => !GIVEN_OUT.includes(field) && value !== null),
    );
    const { endpoint, token } = registrationOf(call);
    return mintedFrom(await registerClient(call, endpoint, token, body));
  },

  // Registered is good: a client needs no further step.
  apply: async () => {},

  verify: (call, next) => authenticates(call, identityOf(call, next)),

  async retire(call, old) {
    if ((await deleteClient(call, placeOf(old))) === 'deleted') return;
    // 401 says that the client is gone, or that our token is not its own (RFC 7592 §2): the secret itself tells.
    if (await authenticates(call, identityOf(call, old))) {
      throw new AppError('provider_rejected', {
        detail: 'The old client still works, and its registration access token is refused: delete it at the server.',
      });
    }
  },
};

/** Where a client is managed (RFC 7592 §3). Throws `provider_misconfigured`. */
function placeOf({ material, metadata }: HeldSecret): { uri: string; token: Secret } {
  const uri = secureUrlIn(metadata, 'registration_client_uri');
  if (material.registrationAccessToken) return { uri, token: material.registrationAccessToken };
  throw new AppError('provider_misconfigured', {
    detail: 'The credential has no registration access token: import it again with "registrationAccessToken".',
  });
}

function registrationOf({ admin, credential }: RotationCall): { endpoint: string; token: Secret | null } {
  return {
    endpoint: secureUrlIn((admin ?? credential).metadata, 'registration_endpoint'),
    token: admin?.material.accessToken ?? null,
  };
}

function identityOf({ credential }: RotationCall, { material, metadata }: HeldSecret) {
  return {
    tokenUrl: secureUrlIn(credential.metadata, 'token_url'),
    clientId: metadata.client_id ?? '',
    clientSecret: material.accessToken,
    method: metadata.token_endpoint_auth_method ?? 'client_secret_basic',
  };
}

function secureUrlIn(metadata: Record<string, string>, name: string): string {
  const value = metadata[name];
  if (value !== undefined && isSecureUrl(value)) return value;
  throw new AppError('provider_misconfigured', {
    detail: `The metadata "${name}" must be an https URL (plain http on loopback only).`,
  });
}

/** RFC 7591 §2: absent grant types mean `authorization_code`, an absent method `client_secret_basic`. */
function assertMachine({ grant_types = ['authorization_code'], ...rest }: ClientConfiguration): void {
  if (grant_types.length !== 1 || grant_types[0] !== 'client_credentials') {
    throw new AppError('provider_unsupported', {
      detail:
        'The client takes other grants than client_credentials; a new client would end what people have consented to.',
    });
  }
  if (!AUTH_METHODS.includes(rest.token_endpoint_auth_method ?? 'client_secret_basic')) {
    throw new AppError('provider_unsupported', { detail: 'The client does not authenticate with a plain secret.' });
  }
}

function mintedFrom(client: ClientConfiguration) {
  const { client_id, client_secret, registration_client_uri, registration_access_token } = client;
  if (
    !client_secret ||
    !registration_client_uri ||
    !registration_access_token ||
    !isSecureUrl(registration_client_uri)
  ) {
    throw new AppError('provider_rejected', {
      internal: 'register: no secret, or nothing to manage the new client by',
      detail: 'The server registered a client that could not be managed or retired (RFC 7592 §3).',
    });
  }
  return {
    material: {
      accessToken: new Secret(client_secret),
      registrationAccessToken: new Secret(registration_access_token),
    },
    metadata: {
      client_id,
      registration_client_uri,
      token_endpoint_auth_method: client.token_endpoint_auth_method ?? 'client_secret_basic',
    },
    expiresAt: client.client_secret_expires_at ? client.client_secret_expires_at * 1000 : null,
  };
}
