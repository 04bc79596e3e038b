import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { deserialize, serialize } from 'node:v8';
import MemoryAdapter from 'oidc-provider/lib/adapters/memory_adapter.js';

const SAVE_AFTER_MS = 200;

/** All that the authorization server remembers. */
export type SandboxStore = {
  /** What oidc-provider wants as `adapter`. */
  adapter: (model: string) => object;
  /** Writes to the file, if there is one. */
  flush(): void;
};

/**
 * A map without bounds: the library's own forgets beyond 1000 entries, and with them live grants. With a `file`,
 * consent survives a restart.
 */
export function createStore(file?: string): SandboxStore {
  const store = file === undefined ? new Map<string, unknown>() : new KeptMap(file);
  return {
    adapter: (model) => new MemoryAdapter(model, store),
    flush: () => {
      if (store instanceof KeptMap) store.flush();
    },
  };
}

class KeptMap extends Map<string, unknown> {
  readonly #file: string;
  #timer: NodeJS.Timeout | undefined;

  constructor(file: string) {
    super();
    this.#file = file;
    for (const [key, value] of load(file)) super.set(key, value);
  }

  override set(key: string, value: unknown): this {
    this.#timer ??= setTimeout(() => this.flush(), SAVE_AFTER_MS);
    return super.set(key, value);
  }

  override delete(key: string): boolean {
    this.#timer ??= setTimeout(() => this.flush(), SAVE_AFTER_MS);
    return super.delete(key);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    writeFileSync(`${this.#file}.new`, serialize(new Map(this)), { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
  }
}

function load(file: string): Map<string, unknown> {
  try {
    return deserialize(readFileSync(file)) as Map<string, unknown>;
  } catch {
    return new Map();
  }
}
