import { inspect } from 'node:util';

const HIDDEN = '[secret]';

/**
 * A secret in memory. It prints, inspects and serialises as `[secret]`; only `reveal()` gives the value,
 * so that every place where a secret leaves its wrapper can be found by that name.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return HIDDEN;
  }

  toJSON(): string {
    return HIDDEN;
  }

  [inspect.custom](): string {
    return HIDDEN;
  }
}
