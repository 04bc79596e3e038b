import type { Environment, Install } from '../tools/apt.ts';

/** Fetches a mongod into `dir` and returns its path, or null when that cannot be had here. */
export type Fetcher = (dir: string, context: FindContext) => Promise<string | null>;

export type FindContext = {
  /** KEYTURN_MONGOD, PATH, XDG_CACHE_HOME. */
  env: Environment;
  /** Told what takes time: one line, no line break. */
  progress: (line: string) => void;
  /** Installs a missing library; by default with apt-get. */
  install?: Install;
};
