/**
 * Maps with at most `limit` calls under way. When one fails no more are begun; those that were begun are waited for, so that
 * nothing goes on behind the caller's back. Then the first error is thrown.
 */
export async function inParallel<A, B>(items: readonly A[], limit: number, map: (item: A) => Promise<B>): Promise<B[]> {
  const results = new Array<B>(items.length);
  const left = items.entries();
  let failed = false;
  const work = async () => {
    for (const [index, item] of left) {
      if (failed) return;
      try {
        results[index] = await map(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const workers = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, work));
  const rejected = workers.find((worker) => worker.status === 'rejected');
  if (rejected) throw rejected.reason;
  return results;
}
