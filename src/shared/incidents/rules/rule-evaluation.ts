/** Shows observations to the rules that watch for them, each with the earlier ones that it asks for, read by index. */
import { listEntriesInWindow } from '../../store/audit/entries-for-rules.ts';
import { findServicesOf } from '../../store/lifecycle/credentials-lookup.ts';
import type { WorkerDeps } from '../../work/job.ts';
import type { Found } from '../case-file.ts';
import type { Finding } from '../finding.ts';
import type { About, Observation, Rule, Whose } from './contract.ts';
import { observationOf } from './observation.ts';

type JudgeDeps = Pick<WorkerDeps, 'database' | 'providers'>;

/** New observations of one tenant, oldest first. `before`: the place in the log that all earlier ones are below. */
export type Batch = { tenantId: string; observations: readonly Observation[]; before: number };

/** A finding, and the credential or principal that it is about. */
export type Judged = Pick<Found, 'rule' | 'finding' | 'at' | 'credentialId' | 'principalId'>;

/** Findings of all rules on a batch; one rule finds at most one thing in each credential or principal. */
export async function judge(deps: JudgeDeps, rules: readonly Rule[], batch: Batch): Promise<Judged[]> {
  const judged: Judged[] = [];
  for (const rule of rules) {
    for (const [owner, observations] of groupsOf(rule, batch.observations)) {
      const first = observations[0]!;
      const earlier = await readWindow(deps, rule, batch, { ...owner, at: first.at });
      const about = await aboutOf(deps, batch.tenantId, first.credentialId, rule);
      const found = firstFinding(rule, observations, earlier, about);
      if (found) judged.push({ rule: rule.name, ...found, ...ownerIds(owner) });
    }
  }
  return judged;
}

type Owner = { whose: Whose; id: string | null };

/** The observations that a rule watches, by the credential or principal that they belong to. */
function groupsOf(rule: Rule, observations: readonly Observation[]): Iterable<[Owner, Observation[]]> {
  const groups = new Map<string, [Owner, Observation[]]>();
  for (const observation of observations) {
    const whose = rule.watches[observation.type];
    if (whose === undefined) continue;
    const id = whose === 'credential' ? observation.credentialId : observation.principalId;
    if (id === null && whose === 'principal') continue;
    const group = groups.get(`${whose} ${id}`) ?? [{ whose, id }, []];
    groups.set(`${whose} ${id}`, group);
    group[1].push(observation);
  }
  return groups.values();
}

function ownerIds({ whose, id }: Owner): Pick<Judged, 'credentialId' | 'principalId'> {
  return { credentialId: whose === 'credential' ? id : null, principalId: whose === 'principal' ? id : null };
}

function firstFinding(
  rule: Rule,
  observations: readonly Observation[],
  earlier: Observation[],
  about: About,
): { finding: Finding; at: Date } | null {
  const seen = [...earlier];
  for (const observation of observations) {
    const finding = rule.judge(observation, seen, about);
    if (finding) return { finding, at: new Date(observation.at) };
    if (rule.window.types.includes(observation.type)) seen.push(observation);
  }
  return null;
}

/** The newest observations of the window, oldest first. */
async function readWindow(
  { database }: JudgeDeps,
  { window }: Rule,
  { tenantId, before }: Batch,
  { whose, id, at }: Owner & { at: number },
): Promise<Observation[]> {
  if (window.most === 0 || id === null) return [];
  const of = whose === 'credential' ? { credentialId: id } : { actorId: id };
  const since = new Date(at - window.ms);
  const wanted = { tenantId, of, types: window.types, before, since };
  const newestFirst = await listEntriesInWindow(database, wanted, window.most);
  return newestFirst.reverse().map(observationOf);
}

async function aboutOf(deps: JudgeDeps, tenantId: string, credentialId: string | null, rule: Rule): Promise<About> {
  const unknown = { rotatesRefreshTokens: null };
  if (credentialId === null || !Object.values(rule.watches).includes('credential')) return unknown;
  const services = await findServicesOf(deps.database, { tenantId, ids: [credentialId] });
  const provider = deps.providers.list().find(({ service }) => service === services.get(credentialId));
  return provider ? { rotatesRefreshTokens: provider.rotatesRefreshTokens } : unknown;
}
