/** Rotations of keys and migrations of secrets, as the command line asks for them and shows them. */
import { findRotation, type RotationRequest, requestRotation } from '../shared/keys/rotation/requests.ts';
import type { KeyRotationDoc } from '../shared/store/keys/key-rotations.ts';
import type { Call, ExitCode } from './command.ts';
import type { StoreDeps } from './store.ts';

const ACTOR = { kind: 'system', id: 'keyturn-cli' } as const;
const LOOK_EVERY_MS = 500;
const BAR_WIDTH = 24;

/** Options of a command that begins rotations. */
export const WAIT_OPTIONS = {
  options: { 'no-wait': { type: 'boolean' } },
  meanings: { 'no-wait': 'begins, and leaves the rest to the workers; `keys status` shows how far they are' },
} as const;

export const WAIT_HELP = `The workers do it in the background, also when this command is ended: asked again, it shows the one under way. A worker
that dies is replaced where it was. Nothing is locked: tokens are released and refreshed meanwhile.`;

/** Begins each rotation, and unless `--no-wait` shows them until they are finished. */
export async function rotateAll(
  deps: StoreDeps,
  { options, print }: Pick<Call, 'options' | 'print'>,
  requests: Omit<RotationRequest, 'actor'>[],
): Promise<ExitCode> {
  const begun: KeyRotationDoc[] = [];
  for (const request of requests) begun.push(await requestRotation(deps, { ...request, actor: ACTOR }));
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
    rotation = (await findRotation(deps, { _id, tenantId })) ?? rotation;
  }
}

/** One line on how far a rotation is. */
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
