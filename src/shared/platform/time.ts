/** A date as it is shown (RFC 3339), or null. */
export function isoOrNull(date: Date | null): string | null {
  return date?.toISOString() ?? null;
}
