import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** What takes long, the longest first: files that wait for processes to start, to be killed, or for leases to end. */
const LONG = [
  /\/test\/(?:e2e|chaos)\//,
  /\/test\/(?:workers|credentials\/rotation|local|keys)\//,
  /\/test\/(?:delivery|incidents|extending|credentials|api\/process)/,
];

/** Begins with the long files, also on a fresh clone, so that no process is left alone with one at the end. */
export default class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return sorted.toSorted((a, b) => rankOf(a) - rankOf(b));
  }
}

function rankOf({ moduleId }: TestSpecification): number {
  const rank = LONG.findIndex((pattern) => pattern.test(moduleId));
  return rank < 0 ? LONG.length : rank;
}
