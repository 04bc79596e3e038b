/** Who may send alerts to a tenant: made and revoked. Each change commits with its entry (promise 6). */
import { AppError } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Secret } from '../../platform/secret.ts';
import type { Deps } from '../../runtime/deps.ts';
import type { Entry } from '../../store/audit/inbox.ts';
import { type AlertSourceDoc, findAlertSource } from '../../store/compromise/alert-sources.ts';
import { makeEntry } from '../../store/entry.ts';
import type { AlertSourcePlugin } from './sources/contract.ts';
import { loadAlertSources } from './sources/load.ts';

type ChangeDeps = Pick<Deps, 'clock' | 'random' | 'database' | 'commit' | 'sealer'>;

export type AlertSourceCall = { tenantId: string; actor: Entry['actor'] };

/**
 * Makes an address for alerts, and the secret that they are signed with, which nobody can show again. Throws
 * `invalid_request`, naming the kinds that there are, and `key_unavailable`.
 */
export async function createAlertSource(
  deps: ChangeDeps,
  { tenantId, actor }: AlertSourceCall,
  wanted: { source: string; name: string },
): Promise<{ source: AlertSourceDoc; secret: Secret }> {
  const plugin = pluginOf(await loadAlertSources(), wanted.source);
  const secret = plugin.newSecret(deps.random);
  const _id = newId('alertSource', deps);
  const sealed = await deps.sealer.seal(secret.reveal(), { tenantId, objectId: _id, generation: 1 });
  const source: AlertSourceDoc = {
    _id,
    tenantId,
    source: plugin.name,
    name: wanted.name,
    secret: { store: 'mongodb', ...sealed },
    createdAt: new Date(deps.clock.now()),
    revokedAt: null,
  };
  const detail = { alertSourceId: _id, source: source.source, name: source.name };
  await deps.commit({
    operations: [{ in: 'alert_sources', insert: source }],
    entries: [makeEntry(deps, { tenantId, type: 'alert_source.created', actor, detail })],
  });
  return { source, secret };
}

function pluginOf(plugins: ReadonlyMap<string, AlertSourcePlugin>, name: string): AlertSourcePlugin {
  const plugin = plugins.get(name);
  if (plugin) return plugin;
  const known = [...plugins.values()].map((one) => `${one.name} (${one.about})`).join('; ');
  throw new AppError('invalid_request', { detail: `body.source: there are ${known}.` });
}

/** Closes the address; one that is closed already stays as it is. Throws `not_found`. */
export async function revokeAlertSource(
  deps: ChangeDeps,
  { tenantId, actor }: AlertSourceCall,
  id: string,
): Promise<AlertSourceDoc> {
  const doc = await findAlertSource(deps.database, { tenantId, id });
  if (!doc) throw new AppError('not_found');
  if (doc.revokedAt) return doc;
  const revokedAt = new Date(deps.clock.now());
  await deps.commit({
    operations: [{ in: 'alert_sources', update: { _id: id, tenantId, revokedAt: null }, set: { $set: { revokedAt } } }],
    entries: [makeEntry(deps, { tenantId, type: 'alert_source.revoked', actor, detail: { alertSourceId: id } })],
  });
  return { ...doc, revokedAt };
}
