/**
 * Which addresses a subscriber may have. Without this guard, anybody who may subscribe could have Keyturn post into the network
 * it runs in, metadata services included (server-side request forgery).
 */
import { BlockList, isIP } from 'node:net';

/** Special-purpose registries of IANA (RFC 6890 and successors). */
const REFUSED_IPV4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
];

/** Global unicast is the only allowed IPv6 space: mapped, translated, local and multicast addresses lie outside of it. */
const ALLOWED_IPV6 = '2000::/3';
/** Within it: protocol assignments and Teredo, documentation, 6to4. */
const REFUSED_IPV6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20'];

const refused = listOf([...REFUSED_IPV4, ...REFUSED_IPV6]);
const global6 = listOf([ALLOWED_IPV6]);

/** Whether an IP address is one of the public internet. False for anything that is not an IP address. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !refused.check(address, 'ipv4');
  return family === 6 && global6.check(address, 'ipv6') && !refused.check(address, 'ipv6');
}

function listOf(ranges: string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [net, prefix] = range.split('/') as [string, string];
    list.addSubnet(net, Number(prefix), net.includes(':') ? 'ipv6' : 'ipv4');
  }
  return list;
}
