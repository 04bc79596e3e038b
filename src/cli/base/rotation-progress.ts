/** Begins rotations of keys and migrations of secrets, and shows how far they are. */
import { type RotationRequest, requestRotation } from '../../shared/keys/rotation/requests.ts';
import { findKeyRotation, type KeyRotationDoc } from '../../shared/store/keys/key-rotations.ts';
import { type Call, CLI_ACTOR, type ExitCode } from './command.ts';
import type { StoreDeps } from './with-store.ts';

const LOOK_EVERY_MS = 500;
const BAR_WIDTH = 24;

/** The options of a command that begins rotations. */
export const WAIT_OPTIONS = {
  options: { 'no-wait': { type: 'boolean' } },
  meanings: { 'no-wait': 'begins, and leaves the rest to the workers; `keys status` shows how far they are' },
} as const;

/** What the help of such a command says of waiting. */
export const WAIT_HELP = `The workers do it in the background, also when this command is ended: asked again, it shows the one under way. A worker
that dies is replaced where it was. Nothing is locked: tokens are released and refreshed meanwhile.`;

/** Begins all rotations, then shows each until it is finished; with `--no-wait` shows them once. */
export async function rotateAll(
  deps: StoreDeps,
  { options, print }: Pick<Call, 'options' | 'print'>,
  requests: Omit<RotationRequest, 'actor'>[],
): Promise<ExitCode> {
  const begun: KeyRotationDoc[] = [];
  for (const request of requests) begun.push(await requestRotation(deps, { ...request, actor: CLI_ACTOR }));
  if (requests.length === 0) print('There is nothing to rotate.');
  for (const rotation of begun) {
    if (options['no-wait']) print(lineOf(rotation));
    else await watch(deps, rotation, print);
  }
  return 0;
}

async function watch(deps: StoreDeps, first: KeyRotationDoc, print: Call['print']): Promise<void> {
  const { _id, tenantId } = first;
  let shown = '';
  for (let rotation: KeyRotationDoc = first; ; ) {
    const line = lineOf(rotation);
    if (line !== shown) print(line);
    shown = line;
    if (rotation.phase === 'finished') return;
    await deps.clock.sleep(LOOK_EVERY_MS);
    rotation = (await findKeyRotation(deps.database, { tenantId, id: _id })) ?? rotation;
  }
}

/** How far a rotation is, in one line; in a second one what it waits for. */
export function lineOf(rotation: KeyRotationDoc): string {
  const { kind, tenantId, phase, moved, total, left, round, problem } = rotation;
  const count = phase === 'requested' || phase === 'staged' ? '' : ` ${bar(moved, total)} ${moved} of ${total}`;
  const rest = left === null ? '' : `, ${left} left at the last count`;
  const again = round > 1 ? `, round ${round}` : '';
  const waits = problem ? `\n  ${problem.detail}` : '';
  return `${tenantId} ${kind}: ${phase}${count}${rest}${again}${waits}`;
}

function bar(moved: number, total: number): string {
  const full = total === 0 ? BAR_WIDTH : Math.min(BAR_WIDTH, Math.floor((moved / total) * BAR_WIDTH));
  return `[${'#'.repeat(full)}${'.'.repeat(BAR_WIDTH - full)}]`;
}
