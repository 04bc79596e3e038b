import { readFileSync } from 'node:fs';

const TICKS_PER_SECOND = 100;

/** CPU time that processes have used so far, in milliseconds. NaN where the system has no /proc. */
export function cpuMs(...pids: (number | undefined)[]): number {
  return pids.reduce<number>((sum, pid) => sum + cpuOf(pid), 0);
}

function cpuOf(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1000;
  } catch {
    return Number.NaN;
  }
}
