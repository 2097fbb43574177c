// The network that a peer comes from, so that counted refusals name no single address.
import { isIPv4, isIPv6 } from 'node:net';

/** The /24 of an IPv4 address or the /48 of an IPv6 address in canonical form; `unknown` for anything else. */
export function networkOf(address: string): string {
  const text = address.replace(/%.*/, '').replace(/^::ffff:(?=\d+\.)/i, '');
  if (isIPv4(text)) return `${text.split('.').slice(0, 3).join('.')}.0/24`;
  return isIPv6(text) ? `${firstGroups(text).join(':')}::/48` : 'unknown';
}

/** The first three groups without leading zeros. */
function firstGroups(address: string): readonly string[] {
  const [head = '', tail] = address.split('::');
  const front = head.split(':').filter((group) => group !== '');
  const behind = tail === undefined ? [] : tail.split(':').filter((group) => group !== '');
  // A dotted quad at the end stands for two groups.
  const length = front.length + behind.length + (address.includes('.') ? 1 : 0);
  const groups = [...front, ...Array.from({ length: tail === undefined ? 0 : 8 - length }, () => '0'), ...behind];
  return groups.slice(0, 3).map((group) => Number.parseInt(group, 16).toString(16));
}
