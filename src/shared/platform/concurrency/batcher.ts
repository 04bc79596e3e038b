/**
 * Gathers calls that are made within a short time into one, because most of a call's cost is the call itself: reads of many
 * requests become one `$in`, writes of many jobs one transaction. While one batch is on its way the next one fills. So batches
 * grow by themselves under load, and a lone call waits for nobody.
 */
export type Batcher<In, Out> = {
  /** Resolves with this item's own outcome, or rejects with its own error. */
  run(item: In): Promise<Out>;
  /** Resolves when everything handed in so far is settled. */
  idle(): Promise<void>;
};

/** One result per item, in order. An `Error` in the place of a result rejects that item only. */
type RunBatch<In, Out> = (items: In[]) => Promise<(Out | Error)[]>;

type Waiting<In, Out> = { item: In; resolve: (out: Out) => void; reject: (error: unknown) => void };

export function makeBatcher<In, Out>(
  runBatch: RunBatch<In, Out>,
  options: { maxSize: number; maxConcurrent: number },
): Batcher<In, Out> {
  let waiting: Waiting<In, Out>[] = [];
  let running = 0;
  let scheduled = false;
  const idlers: (() => void)[] = [];

  const pump = () => {
    scheduled = false;
    while (waiting.length > 0 && running < options.maxConcurrent) {
      const batch = waiting.slice(0, options.maxSize);
      waiting = waiting.slice(batch.length);
      running += 1;
      void settle(batch, runBatch).then(() => {
        running -= 1;
        pump();
      });
    }
    if (running === 0 && waiting.length === 0) for (const resolve of idlers.splice(0)) resolve();
  };

  const schedule = () => {
    if (scheduled || running >= options.maxConcurrent) return;
    scheduled = true;
    // After the present turn of the event loop: whatever arrived with it goes into the same batch.
    setImmediate(pump);
  };

  return {
    run: (item) =>
      new Promise((resolve, reject) => {
        waiting.push({ item, resolve, reject });
        schedule();
      }),
    idle: () =>
      running === 0 && waiting.length === 0 ? Promise.resolve() : new Promise((resolve) => idlers.push(resolve)),
  };
}

async function settle<In, Out>(batch: Waiting<In, Out>[], runBatch: RunBatch<In, Out>): Promise<void> {
  try {
    const results = await runBatch(batch.map((member) => member.item));
    batch.forEach((member, index) => {
      const result = results[index] as Out | Error;
      if (result instanceof Error) member.reject(result);
      else member.resolve(result);
    });
  } catch (error) {
    for (const member of batch) member.reject(error);
  }
}
