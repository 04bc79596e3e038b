/**
 * Our entries as events of Shared Signals (OpenID SSF 1.0, CAEP 1.0, RISC 1.0). An entry whose type has no row is no security
 * event.
 */
import type { Message } from './contract.ts';

const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/';
const RISC = 'https://schemas.openid.net/secevent/risc/event-type/';

const CREDENTIAL_CHANGE = `${CAEP}credential-change`;

type Row = { event: string; claims?: Record<string, string>; because: string };

const ROWS: Record<string, Row> = {
  'credential.activated': change('create', 'A credential was connected.'),
  'credential.refreshed': change('update', 'The access token was refreshed.'),
  'credential.rotated': change('update', 'The credential was rotated.'),
  'credential.revoked': change('revoke', 'The credential was revoked.'),
  'credential.destroyed': change('delete', 'The credential was destroyed.'),
  'credential.quarantined': {
    event: `${RISC}credential-compromise`,
    because: 'The credential is withheld: it may be compromised.',
  },
  'credential.reauthorization_required': {
    event: `${RISC}account-credential-change-required`,
    because: 'The person must give consent again.',
  },
  'incident.opened': {
    event: `${RISC}credential-compromise`,
    because: 'An incident was opened for the credential.',
  },
};

/** Entry types that are security events. */
export const SSF_TYPES = Object.keys(ROWS);

/** CAEP 1.0 §3.2 allows types that both sides agree on; `app` is the listed one that tokens for apps come closest to. */
const CREDENTIAL_TYPE = 'app';

function change(changeType: string, because: string): Row {
  return { event: CREDENTIAL_CHANGE, claims: { change_type: changeType }, because };
}

/** The claims of a security event token (RFC 8417 §2) but issuer, audience and time. Null when the entry is none. */
export function securityEventOf(message: Message): Record<string, unknown> | null {
  const row = ROWS[message.type];
  if (!row) return null;
  const { data } = message;
  const byPerson = data.actor.kind === 'principal' || data.actor.kind === 'subject';
  const event = {
    ...row.claims,
    credential_type: CREDENTIAL_TYPE,
    ...(row.claims && data.service && { friendly_name: data.service }),
    event_timestamp: Math.floor(Date.parse(message.timestamp) / 1_000),
    initiating_entity: byPerson ? 'admin' : 'system',
    reason_admin: { en: data.reason ? `${row.because} (${data.reason})` : row.because },
  };
  return {
    jti: message.id,
    txn: data.incidentId ?? data.eventId ?? message.id,
    sub_id: { format: 'opaque', id: data.subject ?? data.credentialId ?? data.id },
    events: { [row.event]: event },
  };
}

/** The issuer of our security event tokens: how others reach the API. */
export function issuerOf(config: { publicUrl?: string | undefined; host: string; port: number }) {
  return config.publicUrl ?? `http://${config.host}:${config.port}`;
}
