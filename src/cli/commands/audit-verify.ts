import { readFile } from 'node:fs/promises';
import { verifierKeysOf } from '../../shared/audit/export.ts';
import { type Finding, type VerifyReport, verifyLog } from '../../shared/audit/verify.ts';
import { verifyTenant } from '../../shared/audit/verify-live.ts';
import { AppError } from '../../shared/platform/errors.ts';
import type { Call, Command, ExitCode } from '../command.ts';
import { checkNotes, type KeptNote, readNotes } from '../evidence.ts';
import { openExport } from '../export-file.ts';
import { withStore } from '../store.ts';

const HELP = `Without --export it reads the database that MONGODB_URI names, and checks the MACs with the keys of the configuration.

What shows with what:
  an entry edited, removed, reordered or inserted    the log alone
  one entry forged, or the chain rewritten           the live log (its MACs), or a checkpoint kept outside
  a tail that was cut                                the head or stored checkpoints; when those were altered too,
                                                     a checkpoint kept outside
  anything, by somebody who has the root key         a checkpoint kept outside

Exit codes: 0 the log is whole as far as the evidence shows, 1 it was tampered with, 2 it could not be checked.`;

export const plugin: Command = {
  noun: 'audit',
  verb: 'verify',
  about: 'Finds tampering with the audit log, and names it.',
  help: HELP,
  options: {
    tenant: { type: 'string' },
    export: { type: 'string' },
    checkpoint: { type: 'string' },
    keys: { type: 'string' },
  },
  meanings: {
    'tenant <id>': 'one tenant only; by default all',
    'export <file>': 'checks an export, without any database',
    'checkpoint <file>': 'checkpoints that were kept outside: lines of KEYTURN_CHECKPOINT_DIR, or a signed note',
    'keys <file>': 'verifier keys that were kept outside, one a line; only these count for --export',
  },
  run: (call) => (typeof call.options.export === 'string' ? offline(call, call.options.export) : live(call)),
};

async function offline({ options, print }: Call, path: string): Promise<ExitCode> {
  const file = await openExport(path);
  const pinned = await keysOf(options.keys);
  const kept = await keptNotes(options.checkpoint);
  const trusted = pinned ?? file.verifierKeys;
  const outside = checkNotes(file.tenantId, kept, { trusted, kept: 'outside' });
  const own = file.note === null ? [] : [{ note: file.note, verifierKeys: [] }];
  // An export ends with its own checkpoint: it shows that the file is whole, but came with it.
  const inside = checkNotes(file.tenantId, own, { trusted, kept: 'inside' });
  const report = await verifyLog(file.entries(), { checkpoints: [...inside.points, ...outside.points] });
  const findings = [...report.findings, ...outside.findings, ...inside.findings, ...cutOff(file.note, report)];
  const limits = pinned
    ? report.limits
    : [...report.limits, 'The keys are those in the export itself; --keys checks against ones that you kept.'];
  return show(print, file.tenantId, { ...report, findings, limits });
}

function cutOff(note: string | null, { lastSeq }: VerifyReport): Finding[] {
  if (note !== null) return [];
  const about = 'the export does not end with its checkpoint: it was cut off';
  return [{ kind: 'tail_cut', seq: lastSeq + 1, entryId: null, about }];
}

async function live({ options, config, print }: Call): Promise<ExitCode> {
  const kept = await keptNotes(options.checkpoint);
  const wanted = typeof options.tenant === 'string' ? options.tenant : undefined;
  if (kept.length > 0 && wanted === undefined) {
    throw new AppError('invalid_request', { detail: '--checkpoint is of one tenant: say which with --tenant.' });
  }
  return withStore(config(), async (deps) => {
    const tenants = wanted === undefined ? await deps.database.collection('audit').distinct('tenantId') : [wanted];
    const heads = wanted === undefined ? await deps.database.collection('audit_heads').distinct('tenantId') : [];
    let worst: ExitCode = 0;
    for (const tenantId of [...new Set([...tenants, ...heads])].sort()) {
      const outside = checkNotes(tenantId, kept, { trusted: await verifierKeysOf(deps, tenantId), kept: 'outside' });
      const report = await verifyTenant(deps, tenantId, outside.points);
      const code = show(print, tenantId, { ...report, findings: [...report.findings, ...outside.findings] });
      if (code === 1) worst = 1;
    }
    return worst;
  });
}

async function keptNotes(path: unknown): Promise<KeptNote[]> {
  return typeof path === 'string' ? readNotes(path) : [];
}

async function keysOf(path: unknown): Promise<string[] | null> {
  if (typeof path !== 'string') return null;
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw new AppError('invalid_request', { detail: `${path} cannot be read.`, cause });
  });
  return text.split('\n').filter(Boolean);
}

function show(print: Call['print'], tenantId: string, report: VerifyReport): ExitCode {
  const { findings, entries, lastSeq, limits } = report;
  print(`${tenantId}: ${entries} entries, up to ${lastSeq}: ${findings.length === 0 ? 'whole' : 'TAMPERED WITH'}`);
  for (const { kind, seq, through, entryId, about } of findings) {
    const place = through === undefined ? `entry ${seq}` : `entries ${seq} to ${through}`;
    print(`  ${kind}: ${place}${entryId ? ` (${entryId})` : ''}: ${about}`);
  }
  for (const limit of limits) print(`  not shown: ${limit}`);
  return findings.length === 0 ? 0 : 1;
}
