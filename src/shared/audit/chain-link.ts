/** One link of the chain as the verifier sees it: from MongoDB, or from an export. */
import { hashEntry } from './chain.ts';

export type ChainLink = {
  _id: string;
  seq: number;
  prev: string;
  hash: string;
  mac: string;
  [field: string]: unknown;
};

/** Whether a value has the shape of a link at all. */
export function isLink(value: unknown): value is ChainLink {
  const link = value as ChainLink | null;
  return (
    typeof link === 'object' &&
    link !== null &&
    typeof link.seq === 'number' &&
    [link._id, link.prev, link.hash, link.mac].every((field) => typeof field === 'string')
  );
}

/** Whether the content of a link is what its hash was made of. */
export function isIntact(link: ChainLink): boolean {
  return fits(link, link);
}

/**
 * The place that a link's content was made for, among those of `others`; null when it is none of them. Both ways of
 * swapping are tried: documents that kept their hash and got another `seq`, and contents put under another's hash.
 */
export function placeFor(link: ChainLink, others: ChainLink[]): number | null {
  const place = others.find(
    (other) => other.seq !== link.seq && (fits(link, { ...link, seq: other.seq }) || fits(link, other)),
  );
  return place?.seq ?? null;
}

/** Whether the content makes that hash in that place. A content that cannot be canonicalised makes none. */
function fits(content: ChainLink, place: Pick<ChainLink, 'seq' | 'prev' | 'hash'>): boolean {
  const { prev: _, hash: __, mac: ___, ...record } = content;
  try {
    return hashEntry(place.prev, { ...record, seq: place.seq }) === place.hash;
  } catch {
    return false;
  }
}
