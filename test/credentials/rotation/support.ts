import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { openMaterial } from '../../../src/shared/keys/material.ts';
import type { Entry } from '../../../src/shared/store/audit/inbox.ts';
import type { CredentialDoc } from '../../../src/shared/store/lifecycle/credentials.ts';
import { sendEvent } from '../../../testkit/messages/events.ts';
import type { RotatorSubject } from '../../../testkit/providers/rotator-subjects.ts';
import { NOBODY, services } from '../../../testkit/services.ts';
import type { TestSystem } from '../../../testkit/system.ts';

/** Services that nobody answers for: rotators speak to the other side themselves. */
export const SERVICE = services({ acme: NOBODY, other: NOBODY });

export async function requestRotation(
  system: TestSystem,
  credentialId: string,
  more: Record<string, unknown> = {},
): Promise<string> {
  return sendEvent(system.deps, 'credential.rotation.requested', { credentialId, ...more });
}

/** Imports the secret of a subject, and that of its administrator, as a person does. Resolves to the credential. */
export async function importSubject(
  system: TestSystem,
  { credential, admin }: Pick<RotatorSubject, 'credential' | 'admin'>,
  more: Record<string, unknown> = {},
): Promise<CredentialDoc> {
  const subject = randomBytes(6).toString('hex');
  const link = admin && (await importOne(system, { subject: `${subject}-admin`, ...admin }));
  const metadata = { ...credential.metadata, ...(link && { admin_credential_id: link._id }) };
  return importOne(system, { subject, overlapSeconds: 0.2, ...credential, metadata, ...more });
}

export async function importOne(system: TestSystem, data: Record<string, unknown>): Promise<CredentialDoc> {
  const id = await sendEvent(system.deps, 'credential.import.requested', { service: 'acme', ...data });
  const event = await system.settledEvent(id);
  expect(event).toMatchObject({ status: 'succeeded' });
  return system.credential({ _id: event.credentialId as string });
}

/** What the token release would hand out now. */
export async function released(system: TestSystem, id: string) {
  const doc = await system.credential({ _id: id });
  return { secret: (await openMaterial(system.deps, doc)).accessToken.reveal(), metadata: doc.metadata, doc };
}

/** The entries of a credential, whether they are chained yet or not, in the order of their making. */
export async function entriesOf(system: TestSystem, credentialId: string): Promise<Entry[]> {
  const { database } = system.deps;
  const [waiting, chained] = await Promise.all([
    database.collection('audit_inbox').find({ credentialId }).toArray(),
    database.collection('audit').find({ credentialId }).toArray(),
  ]);
  const byId = new Map([...waiting, ...chained].map((entry) => [entry._id, entry]));
  return [...byId.values()].sort((a, b) => a._id.localeCompare(b._id));
}

/** The types of the entries that tell of rotations. */
export async function rotationEntries(system: TestSystem, credentialId: string): Promise<string[]> {
  const entries = await entriesOf(system, credentialId);
  return entries.map(({ type }) => type).filter((type) => /rotat/.test(type));
}

/** The entries of one rotation that goes well, in order. */
export const WELL = [
  'credential.rotation_planned',
  'credential.rotation_minted',
  'credential.rotation_applied',
  'credential.rotation_verified',
  'credential.rotated',
  'credential.rotation_retired',
];
