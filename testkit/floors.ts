/**
 * The floors of the source, lowest first; each folder is on one, with all that lies below it. A file imports only from lower
 * floors and from its own folder: neighbours on a floor do not know each other. docs/architecture.md says why each stands
 * where it stands.
 */
export const FLOORS: readonly (readonly string[])[] = [
  ['src/shared/platform'],
  ['src/shared/sealing', 'src/shared/queue', 'src/shared/providers'],
  ['src/shared/store'],
  ['src/shared/runtime'],
  ['src/shared/work', 'src/shared/access'],
  ['src/shared/keys'],
  ['src/shared/audit'],
  ['src/shared/events'],
  ['src/shared/credentials', 'src/shared/delivery'],
  ['src/shared/incidents', 'src/shared/report'],
  ['src/api', 'src/workers', 'src/cli'],
];
