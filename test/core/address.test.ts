// Only public addresses and allowed ranges can be dialled, however they are written.

import { createUpstreamPolicy, parseRanges, parseUpstreamUrl } from '@daypass/core/address';
import { expect, test } from 'vitest';

const closed = createUpstreamPolicy({ allow: [], own: [] });
const refusedAddress = expect.objectContaining({ code: 'upstream_address_refused' });
const refusedUrl = expect.objectContaining({ code: 'invalid_argument', field: 'upstream' });

const INNER: Readonly<Record<string, readonly string[]>> = {
  'this network': ['0.0.0.0', '0.1.2.3'],
  private: ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.0.1'],
  'carrier-grade NAT': ['100.64.0.1', '100.100.100.200', '100.127.255.255'],
  loopback: ['127.0.0.1', '127.127.127.127'],
  'link-local': ['169.254.0.1', '169.254.169.254', '169.254.170.2'],
  metadata: ['168.63.129.16', '192.0.0.192'],
  assignments: ['192.0.0.1', '192.88.99.1'],
  documentation: ['192.0.2.1', '198.51.100.1', '203.0.113.1'],
  benchmarks: ['198.18.0.1', '198.19.255.255'],
  multicast: ['224.0.0.1', '239.255.255.255'],
  'reserved and broadcast': ['240.0.0.1', '255.255.255.255'],
};
const INNER_V4 = Object.values(INNER).flat();

const hex = (ip: string): string => {
  const [a = 0, b = 0, c = 0, d = 0] = ip.split('.').map(Number);
  return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
};

const DISGUISES: readonly (readonly [string, (ip: string) => string])[] = [
  ['plainly', (ip) => ip],
  ['IPv4-mapped', (ip) => `::ffff:${ip}`],
  ['IPv4-mapped in hex', (ip) => `::ffff:${hex(ip)}`],
  ['IPv4-mapped at length', (ip) => `0:0:0:0:0:FFFF:${hex(ip)}`],
  ['IPv4-compatible', (ip) => `::${ip}`],
  ['IPv4-translated', (ip) => `::ffff:0:${hex(ip)}`],
  ['by NAT64', (ip) => `64:ff9b::${ip}`],
  ['by NAT64 in hex', (ip) => `64:FF9B:0:0:0:0:${hex(ip)}`],
  ['by local NAT64', (ip) => `64:ff9b:1::${ip}`],
  ['by 6to4', (ip) => `2002:${hex(ip)}::1`],
  ['by Teredo', (ip) => `2001:0:${hex(ip)}::1`],
];

test.each(DISGUISES)('inner IPv4 addresses are refused: %s', (_, disguise) => {
  for (const ip of INNER_V4) expect(() => closed.checkAddress(disguise(ip), 443), disguise(ip)).toThrow(refusedAddress);
});

test.each([
  '::',
  '::1',
  '0:0:0:0:0:0:0:1',
  'fe80::1',
  'febf::1',
  'fe80::1%eth0',
  '2606:4700::1111%eth0',
  'fec0::1',
  'fc00::1',
  'fd00:ec2::254',
  'fdff::1',
  'ff02::1',
  'ff0e::1',
  '100::1',
  '2001::1',
  '2001:2::1',
  '2001:db8::1',
  '3fff::1',
  '4000::1',
  '5f00::1',
])('%s is refused', (ip) => expect(() => closed.checkAddress(ip, 443)).toThrow(refusedAddress));

test.each([
  '',
  'localhost',
  'example.com',
  '127.1',
  '2130706433',
  '0x7f.0.0.1',
  '010.0.0.1',
  '1.2.3.4.5',
  '[::1]',
  '::1]',
  '8.8.8.8 ',
])('%j is no address', (ip) => expect(() => closed.checkAddress(ip, 443)).toThrow(refusedAddress));

test.each([
  '1.1.1.1',
  '8.8.8.8',
  '9.255.255.255',
  '11.0.0.0',
  '93.184.216.34',
  '100.63.255.255',
  '100.128.0.0',
  '126.255.255.255',
  '128.0.0.1',
  '172.15.255.255',
  '172.32.0.0',
  '192.0.1.1',
  '198.17.255.255',
  '198.20.0.0',
  '223.255.255.255',
  '::ffff:8.8.8.8',
  '64:ff9b::8.8.8.8',
  '2606:4700:4700::1111',
  '2a00:1450::1',
  '2001:200::1',
  '2003::1',
])('%s is public', (ip) => expect(() => closed.checkAddress(ip, 443)).not.toThrow());

const some = createUpstreamPolicy({
  allow: ['127.0.0.1/32:8490', '10.1.0.0/16', '192.168.7.7', '[fd00::/8]:443', 'fe80::/10', '[::1]:9'],
  own: [],
});

test.each<[string, number, boolean]>([
  ['127.0.0.1', 8490, true],
  ['::ffff:127.0.0.1', 8490, true],
  ['127.0.0.1', 8491, false],
  ['127.0.0.2', 8490, false],
  ['10.1.2.3', 1, true],
  ['::ffff:a01:203', 1, true],
  ['10.2.0.0', 1, false],
  ['64:ff9b::10.1.2.3', 1, false],
  ['2002:a01:203::1', 1, false],
  ['192.168.7.7', 80, true],
  ['192.168.7.8', 80, false],
  ['fd12::1', 443, true],
  ['fd12::1', 80, false],
  ['fe80::1', 80, true],
  ['fe80::1%eth0', 80, false],
  ['::1', 9, true],
  ['::1', 10, false],
  ['localhost', 8490, false],
])("the operator's ranges decide on %s port %i: %s", (ip, port, allowed) => {
  expect(some.isAllowedRange(ip, port)).toBe(allowed);
  const check = () => some.checkAddress(ip, port);
  if (allowed) expect(check).not.toThrow();
  else expect(check).toThrow(refusedAddress);
});

test('a range that is all of an address family allows all of it', () => {
  const open = createUpstreamPolicy({ allow: ['0.0.0.0/0', '::/0'], own: [] });
  for (const ip of ['127.0.0.1', '169.254.169.254', '::1', 'fd00::1', '::ffff:10.0.0.1']) {
    expect(() => open.checkAddress(ip, 80)).not.toThrow();
  }
});

const BAD_RANGES = [
  '',
  'x',
  '10.0.0.0/33',
  '10.0.0/8',
  '10.0.0.0/8:0',
  '10.0.0.0/8:65536',
  '10.0.0.0/',
  '10.0.0.0/8:',
  '::/129',
  '[::1',
  '[10.0.0.0/8',
  '::1%eth0',
  'localhost:8490',
  '010.0.0.0/8',
  '10.0.0.0/8 ',
  'fd00::/8:443/',
  '300.0.0.1',
];

test.each(BAD_RANGES)('the range %j cannot be read', (text) => expect(parseRanges([text]).problems).toHaveLength(1));

test('all bad ranges are named at once', () => {
  const create = () => createUpstreamPolicy({ allow: ['10.0.0.0/8', 'nonsense', '1.2.3.4/99'], own: [] });
  expect(create).toThrow(expect.objectContaining({ code: 'config_invalid' }));
  expect(create).toThrow(/"nonsense".*"1\.2\.3\.4\/99"/);
  expect(create).not.toThrow(/10\.0\.0\.0\/8"/);
});

test.each<[string, string, boolean]>([
  ['127.0.0.1', '127.0.0.1', true],
  ['127.0.0.1', '::ffff:7f00:1', true],
  ['127.0.0.1', '127.0.0.9', true],
  ['127.0.0.1', '::1', true],
  ['127.0.0.1', '0.0.0.0', true],
  ['127.0.0.1', '::', true],
  ['127.0.0.1', '10.0.0.5', false],
  ['localhost', '127.0.0.1', true],
  ['[::1]', '::1', true],
  ['::1', '127.0.0.1', true],
  ['0.0.0.0', '127.0.0.1', true],
  ['0.0.0.0', '10.0.0.5', true],
  ['::', '192.168.1.1', true],
  ['10.0.0.5', '10.0.0.5', true],
  ['10.0.0.5', '::ffff:10.0.0.5', true],
  ['10.0.0.5', '10.0.0.6', false],
  ['8.8.8.8', '8.8.8.8', true],
  ['control.internal', '10.0.0.5', true],
  ['control.internal', '8.8.8.8', false],
])('a listener on %s is found at %s: %s', (host, ip, found) => {
  const policy = createUpstreamPolicy({ allow: ['0.0.0.0/0', '::/0'], own: [{ host, port: 8480 }] });
  const check = () => policy.checkAddress(ip, 8480);
  if (found) expect(check).toThrow(refusedAddress);
  else expect(check).not.toThrow();
  expect(() => policy.checkAddress(ip, 8481)).not.toThrow();
});

test.each([
  'https://api.github.com/',
  'https://api.example.com:8443/base/path',
  'https://1.1.1.1/',
  'https://[2606:4700::1111]/',
  'https://a_b.example/',
  'https://xn--mnchen-3ya.example/',
])('%s may be an upstream', (text) =>
  expect(() => closed.checkUrl(parseUpstreamUrl(text), { insecure: false })).not.toThrow());

test.each([
  ['cloud metadata', 'http://169.254.169.254/'],
  ['decimal IPv4', 'http://2852039166/'],
  ['octal IPv4', 'http://0251.0376.0251.0376/'],
  ['3-part IPv4', 'http://169.254.43518/'],
  ['hex IPv4', 'http://0x7f.1/'],
  ['IPv4-mapped IPv6', 'http://[::ffff:a9fe:a9fe]/'],
  ['NAT64', 'http://[64:ff9b::a9fe:a9fe]/'],
  ['IPv4-compatible', 'http://[::a9fe:a9fe]/'],
  ['a metadata name', 'http://metadata.google.internal/'],
  ['another metadata address', 'http://192.0.0.192/'],
  ['loopback', 'http://127.0.0.1/'],
  ['all of 127/8', 'http://127.127.127.127/'],
  ['unspecified', 'http://0.0.0.0/'],
  ['localhost', 'http://localhost/'],
  ['a name under localhost', 'http://x.localhost/'],
  ['a dot at the end', 'http://localhost./'],
  ['a dot at the end of a name', 'http://example.com./'],
  ['IPv6 unspecified', 'http://[::]/'],
  ['IPv6 loopback', 'http://[::1]/'],
  ['a zone', 'http://[fe80::1%25eth0]/'],
  ['private', 'http://172.16.0.1/'],
  ['carrier-grade NAT', 'http://100.64.0.1/'],
  ['multicast', 'http://224.0.0.1/'],
  ['reserved', 'http://240.0.0.1/'],
  ['IPv6 multicast', 'http://[ff02::1]/'],
  ['a fragment that hides a host', 'http://169.254.169.254#@api.example.com/'],
  ['a user that looks like a host', 'http://api.example.com:80@127.0.0.1/'],
  ['three slashes', 'http:///169.254.169.254'],
  ['circled digits', 'http://①②⑦.⓪.⓪.①/'],
  ['a tab', 'http://exa\tmple.com/'],
  ['a NUL in the host', 'http://example.com%00.evil.test/'],
  ['a wildcard', 'http://*.example.com/'],
  ['a port overflow', 'http://example.com:65536/'],
  ['port 0', 'http://example.com:0/'],
  ['a user', 'https://user:pass@api.example.com/'],
  ['an empty user', 'https://@api.example.com/'],
  ['a fragment', 'https://api.example.com/#f'],
  ['an empty fragment', 'https://api.example.com/#'],
  ['a query', 'https://api.example.com/?a'],
  ['an encoded slash', 'https://api.example.com/a%2fb'],
  ['a dot segment', 'https://api.example.com/a/../b'],
  ['an encoded dot segment', 'https://api.example.com/%2e%2e/b'],
  ['an empty segment', 'https://api.example.com/a//b'],
  ['a path parameter', 'https://api.example.com/a;b'],
  ['a backslash', 'https:\\\\api.example.com/'],
  ['upper case', 'https://API.example.com/'],
  ['a default port', 'https://api.example.com:443/'],
  ['a space', ' https://api.example.com/'],
  ['a host in another script', 'https://еxample.com/'],
  ['an empty label', 'http://a..b/'],
  ['bad punycode', 'http://xn--a/'],
  ['bad punycode in a label', 'http://a.xn--zzzzzzzzz999999.com/'],
  ['gopher', 'gopher://127.0.0.1:6379/_x'],
  ['data', 'data:text/plain,x'],
  ['file', 'file:///etc/passwd'],
  ['a socket', 'http+unix://%2Fvar%2Frun%2Fdocker.sock/'],
  ['no URL', 'api.example.com'],
  ['nothing', ''],
])('%s is refused', (_, text) => {
  expect(() => closed.checkUrl(parseUpstreamUrl(text), { insecure: true })).toThrow(refusedUrl);
});

test.each<[string, boolean, boolean]>([
  ['http://api.example.com/', false, false],
  ['http://api.example.com/', true, true],
  ['http://1.1.1.1/', false, false],
  ['http://10.1.2.3/', false, true],
  ['http://127.0.0.1:8490/', false, true],
  ['http://localhost:8490/', false, true],
  ['http://localhost:8491/', true, false],
  ['http://127.0.0.1/', true, false],
  ['https://10.1.2.3/', false, true],
  ['https://[fd12::1]/', false, true],
  ['http://[fd12::1]/', true, false],
])('%s with insecure %s may be an upstream: %s', (text, insecure, allowed) => {
  const check = () => some.checkUrl(parseUpstreamUrl(text), { insecure });
  if (allowed) expect(check).not.toThrow();
  else expect(check).toThrow(refusedUrl);
});

test('a listener of Daypass is no upstream by its name either', () => {
  const policy = createUpstreamPolicy({ allow: [], own: [{ host: 'daypass.example.com', port: 443 }] });
  expect(() => policy.checkUrl(new URL('https://daypass.example.com/'), { insecure: false })).toThrow(refusedUrl);
  expect(() => policy.checkUrl(new URL('https://daypass.example.com:444/'), { insecure: false })).not.toThrow();
});
