import { describe, expect, test } from 'vitest';
import { isPublicAddress } from '../../../src/shared/delivery/sinks/address-guard.ts';
import { makeOutbound, refusalOf } from '../../../src/shared/delivery/sinks/outbound.ts';

describe('an address that webhooks may go to', () => {
  test.each(['8.8.8.8', '1.1.1.1', '172.32.0.1', '2606:4700:4700::1111', '2a00:1450:4001:81b::200e'])(
    '%s is one',
    (address) => {
      expect(isPublicAddress(address)).toBe(true);
    },
  );

  test.each([
    ['127.0.0.1', 'loopback'],
    ['127.8.8.8', 'loopback'],
    ['0.0.0.0', 'this host'],
    ['10.1.2.3', 'private'],
    ['172.16.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['192.168.1.1', 'private'],
    ['100.64.0.1', 'carrier NAT'],
    ['169.254.169.254', 'cloud metadata'],
    ['224.0.0.1', 'multicast'],
    ['255.255.255.255', 'broadcast'],
    ['::1', 'loopback'],
    ['::', 'unspecified'],
    ['::ffff:127.0.0.1', 'mapped loopback'],
    ['::ffff:a9fe:a9fe', 'mapped metadata'],
    ['64:ff9b::7f00:1', 'translated loopback'],
    ['fc00::1', 'unique local'],
    ['fd00:ec2::254', 'cloud metadata'],
    ['fe80::1', 'link-local'],
    ['ff02::1', 'multicast'],
    ['2001:db8::1', 'documentation'],
    ['2002:7f00:1::', '6to4 of loopback'],
    ['2001:0:1::', 'Teredo'],
    ['localhost', 'no address'],
    ['', 'no address'],
  ])('%s is none: %s', (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });
});

describe('a URL of a webhook', () => {
  test.each([
    'http://example.com/',
    'ftp://example.com/',
    'https://user:pass@example.com/',
    'https://127.0.0.1/',
    'https://[::1]/',
    'https://[::ffff:10.0.0.1]/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://0177.0.0.1/',
    'not a URL',
  ])('%s is refused', (url) => {
    expect(refusalOf(url, false)).not.toBeNull();
  });

  test('a public https URL is taken, a private one only where that is allowed', () => {
    expect(refusalOf('https://example.com/hook', false)).toBeNull();
    expect(refusalOf('http://127.0.0.1:1/', true)).toBeNull();
  });

  test('a call to a private address is refused without being made', async () => {
    const post = makeOutbound({ allowPrivate: false, timeoutMs: 1_000, clock: { now: () => 0 } });
    const call = { headers: {}, body: '', signal: new AbortController().signal };
    expect(await post({ ...call, url: 'https://169.254.169.254/latest/meta-data' })).toEqual({
      failed: 'address_refused',
    });
  });
});
