/** Shows signals to the rules that watch for them, each with the earlier signals that it asks for, read by index. */
import type { Filter } from 'mongodb';
import type { ChainedEntry } from '../../store/audit/entries.ts';
import type { WorkerDeps } from '../../work/job.ts';
import type { Found } from '../case-file.ts';
import type { Finding } from '../finding.ts';
import { type About, type Observation, observationOf, type Rule, type Whose } from './contract.ts';

type JudgeDeps = Pick<WorkerDeps, 'database' | 'providers'>;

/** New signals of one tenant, oldest first. `before`: the place in the log that all earlier ones are below. */
export type Batch = { tenantId: string; signals: readonly Observation[]; before: number };

/** A finding and the signal that it is about. */
export type Judged = Pick<Found, 'rule' | 'finding' | 'at' | 'credentialId' | 'principalId'>;

/** Findings of all rules on a batch; one rule finds at most one thing in each credential or principal. */
export async function judge(deps: JudgeDeps, rules: readonly Rule[], batch: Batch): Promise<Judged[]> {
  const judged: Judged[] = [];
  for (const rule of rules) {
    for (const [owner, signals] of groupsOf(rule, batch.signals)) {
      const earlier = await readWindow(deps, rule, batch, { ...owner, at: signals[0]!.at });
      const about = await aboutOf(deps, batch.tenantId, signals[0]!.credentialId, rule);
      const found = firstFinding(rule, signals, earlier, about);
      if (found) judged.push({ rule: rule.name, ...found, ...ownerIds(owner) });
    }
  }
  return judged;
}

type Owner = { whose: Whose; id: string | null };

/** Signals that a rule watches, by whose they are. */
function groupsOf(rule: Rule, signals: readonly Observation[]): Iterable<[Owner, Observation[]]> {
  const groups = new Map<string, [Owner, Observation[]]>();
  for (const signal of signals) {
    const whose = rule.watches[signal.type];
    if (whose === undefined) continue;
    const id = whose === 'credential' ? signal.credentialId : signal.principalId;
    if (id === null && whose === 'principal') continue;
    const group = groups.get(`${whose} ${id}`) ?? [{ whose, id }, []];
    groups.set(`${whose} ${id}`, group);
    group[1].push(signal);
  }
  return groups.values();
}

function ownerIds({ whose, id }: Owner): Pick<Judged, 'credentialId' | 'principalId'> {
  return { credentialId: whose === 'credential' ? id : null, principalId: whose === 'principal' ? id : null };
}

function firstFinding(
  rule: Rule,
  signals: readonly Observation[],
  earlier: Observation[],
  about: About,
): { finding: Finding; at: Date } | null {
  const seen = [...earlier];
  for (const signal of signals) {
    const finding = rule.judge(signal, seen, about);
    if (finding) return { finding, at: new Date(signal.at) };
    if (rule.window.types.includes(signal.type)) seen.push(signal);
  }
  return null;
}

/** The newest signals of the window, oldest first. */
async function readWindow(
  deps: JudgeDeps,
  { window }: Rule,
  { tenantId, before }: Batch,
  { whose, id, at }: Owner & { at: number },
): Promise<Observation[]> {
  if (window.most === 0 || id === null) return [];
  const where: Filter<ChainedEntry> = {
    tenantId,
    ...(whose === 'credential' ? { credentialId: id } : { 'actor.id': id }),
    type: { $in: [...window.types] },
    seq: { $lt: before },
    at: { $gte: new Date(at - window.ms) },
  };
  const found = deps.database.collection('audit').find(where).sort({ seq: -1 }).limit(window.most);
  return (await found.toArray()).reverse().map(observationOf);
}

async function aboutOf(deps: JudgeDeps, tenantId: string, credentialId: string | null, rule: Rule): Promise<About> {
  const unknown = { rotatesRefreshTokens: null };
  if (credentialId === null || !Object.values(rule.watches).includes('credential')) return unknown;
  const projection = { service: 1 };
  const doc = await deps.database.collection('credentials').findOne({ _id: credentialId, tenantId }, { projection });
  const provider = doc && deps.providers.list().find(({ service }) => service === doc.service);
  return provider ? { rotatesRefreshTokens: provider.rotatesRefreshTokens } : unknown;
}
