import { readFile } from 'node:fs/promises';
import { verifierKeysOf } from '../../shared/audit/export.ts';
import { type Finding, type VerifyReport, verifyLog } from '../../shared/audit/verify.ts';
import { verifyStoredLog } from '../../shared/audit/verify-stored-log.ts';
import { AppError } from '../../shared/platform/errors.ts';
import { listTenantsInLog } from '../../shared/store/audit/entries.ts';
import { listTenantsWithHead } from '../../shared/store/audit/heads.ts';
import { type Call, type Command, type ExitCode, textOf } from '../base/command.ts';
import { openExport } from '../base/export-file.ts';
import { checkNotes, type KeptNote, readNotes } from '../base/kept-checkpoints.ts';
import { type StoreDeps, withStore } from '../base/with-store.ts';

const HELP = `Without --export it reads the database that MONGODB_URI names, and checks the MACs with the keys of the configuration.

What shows with what:
  an entry edited, removed, reordered or inserted    the log alone
  one entry forged, or the chain rewritten           the live log (its MACs), or a checkpoint kept outside
  a tail that was cut                                the head or stored checkpoints; when those were altered too,
                                                     a checkpoint kept outside
  anything, by somebody who has the root key         a checkpoint kept outside

Exit codes: 0 the log is whole as far as the evidence shows, 1 it was tampered with, 2 it could not be checked.`;

/** `keyturn audit verify` */
export const auditVerify: Command = {
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
  run(call) {
    const path = textOf(call.options, 'export');
    return path === undefined ? verifyDatabase(call) : verifyExport(call, path);
  },
};

async function verifyExport({ options, print }: Call, path: string): Promise<ExitCode> {
  const file = await openExport(path);
  const pinned = await pinnedKeys(textOf(options, 'keys'));
  const kept = await keptNotes(textOf(options, 'checkpoint'));
  const trusted = pinned ?? file.verifierKeys;
  const outside = checkNotes(file.tenantId, kept, { trusted, kept: 'outside' });
  const own = file.note === null ? [] : [{ note: file.note, verifierKeys: [] }];
  // The export's own checkpoint shows that the file is whole, not that it is true: it came with the file.
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

async function verifyDatabase({ options, config, print }: Call): Promise<ExitCode> {
  const kept = await keptNotes(textOf(options, 'checkpoint'));
  const wanted = textOf(options, 'tenant');
  if (kept.length > 0 && wanted === undefined) {
    throw new AppError('invalid_request', { detail: '--checkpoint is of one tenant: say which with --tenant.' });
  }
  return withStore(config(), async (deps) => {
    let worst: ExitCode = 0;
    for (const tenantId of wanted === undefined ? await allTenants(deps) : [wanted]) {
      const outside = checkNotes(tenantId, kept, { trusted: await verifierKeysOf(deps, tenantId), kept: 'outside' });
      const report = await verifyStoredLog(deps, tenantId, outside.points);
      const code = show(print, tenantId, { ...report, findings: [...report.findings, ...outside.findings] });
      if (code === 1) worst = 1;
    }
    return worst;
  });
}

/** Who has entries, and who has a head: where all entries of one were removed, its head tells. */
async function allTenants({ database }: StoreDeps): Promise<string[]> {
  const [inLog, withHead] = await Promise.all([listTenantsInLog(database), listTenantsWithHead(database)]);
  return [...new Set([...inLog, ...withHead])].sort();
}

async function keptNotes(path: string | undefined): Promise<KeptNote[]> {
  return path === undefined ? [] : readNotes(path);
}

/** The verifier keys in a file, one a line; null where no file is named. */
async function pinnedKeys(path: string | undefined): Promise<string[] | null> {
  if (path === undefined) return null;
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
