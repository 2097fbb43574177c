// Which addresses and URLs may be an upstream: public ones, and the ranges that the operator allows.

import { BlockList, isIP } from 'node:net';
import { domainToUnicode } from 'node:url';
import { findAmbiguity } from './ambiguity.ts';
import { DaypassError } from './errors.ts';

/** Where something listens. `host` is an address, `localhost` or a name. */
export type Endpoint = { readonly host: string; readonly port: number };

type Options = {
  /** `CIDR` or `CIDR:port`, `[v6/len]:port`; a bare address is a range of one. */
  readonly allow: readonly string[];
  /** The planes' own listeners: never an upstream, whatever is allowed. */
  readonly own: readonly Endpoint[];
};

/** Decides what may be dialled. */
export type UpstreamPolicy = {
  /** @throws DaypassError `upstream_address_refused` unless this very address may be dialled at this port */
  readonly checkAddress: (ip: string, port: number) => void;
  /** Whether the operator's ranges allow the address at this port. */
  readonly isAllowedRange: (ip: string, port: number) => boolean;
  /**
   * Checks an upstream's URL as far as it can be judged without asking the DNS. `insecure` lets plain `http:` be used.
   * @throws DaypassError `invalid_argument` with the field `upstream`
   */
  readonly checkUrl: (url: URL, options: { readonly insecure: boolean }) => void;
};

/**
 * The policy over the operator's ranges.
 * @throws DaypassError `config_invalid` that names every range that cannot be read
 */
export const createUpstreamPolicy = ({ allow, own }: Options): UpstreamPolicy => {
  const { ranges, problems } = parseRanges(allow);
  if (problems.length > 0) throw new DaypassError('config_invalid', problems.join('; '));
  const listeners = own.map(compileListener);

  const isAllowedRange = (ip: string, port: number): boolean =>
    ranges.some((range) => (range.port === undefined || range.port === port) && holds(range.addresses, ip));
  const refusedWhy = (ip: string, port: number): string | undefined => {
    if (!isPlainAddress(ip)) return 'is not an address';
    if (listeners.some((listener) => listener(ip, port))) return 'is a listener of Daypass itself';
    return isPublic(ip) || isAllowedRange(ip, port) ? undefined : 'is not public, and not in an allowed range';
  };
  return {
    isAllowedRange,
    checkAddress: (ip, port) => {
      const why = refusedWhy(ip, port);
      if (why !== undefined) throw new DaypassError('upstream_address_refused', `the upstream's address ${why}`);
    },
    checkUrl: (url, { insecure }) => {
      refuseStrangeUrl(url);
      const port = portOf(url);
      if (own.some(({ host, port: ownPort }) => host === url.hostname && ownPort === port)) {
        throw wrongUrl(`${url.host} is a listener of Daypass itself`);
      }
      const addresses = literalAddresses(url.hostname);
      const reasons = addresses.map((ip) => refusedWhy(ip, port));
      const reason = reasons[0];
      if (reason !== undefined && !reasons.includes(undefined)) throw wrongUrl(`${url.host} ${reason}`);
      const allowed = addresses.some((ip) => isAllowedRange(ip, port));
      if (url.protocol === 'http:' && !insecure && !allowed) throw wrongUrl('https: is needed');
    },
  };
};

/**
 * Reads an upstream's URL that is written the way URLs are compared, so that no two readers can differ on its host.
 * @throws DaypassError `invalid_argument` with the field `upstream`
 */
export const parseUpstreamUrl = (text: string): URL => {
  if (!URL.canParse(text)) throw wrongUrl('not a URL');
  const url = new URL(text);
  if (url.href !== text && url.href !== `${text}/`)
    throw wrongUrl('written oddly: a plain https://host[:port][/path] is needed');
  return url;
};

/** The ranges that texts name, and a sentence on each text that names none. */
export const parseRanges = (
  texts: readonly string[],
): { readonly ranges: readonly Range[]; readonly problems: readonly string[] } => {
  const ranges: Range[] = [];
  const problems: string[] = [];
  for (const text of texts) {
    const range = parseRange(text);
    if (range === undefined)
      problems.push(`${JSON.stringify(text)} is not a range such as 10.0.0.0/8, 127.0.0.1:8490 or [fd00::/8]:443`);
    else ranges.push(range);
  }
  return { ranges, problems };
};

/** Addresses, at one port or at every port. */
export type Range = { readonly addresses: BlockList; readonly port: number | undefined };

const V4_RANGE = /^([0-9.]+)(?:\/([0-9]{1,2}))?(?::([0-9]{1,5}))?$/;
const V6_RANGE = /^([0-9a-fA-F:.]+)(?:\/([0-9]{1,3}))?$/;
const V6_BRACKETS = /^\[([0-9a-fA-F:.]+)(?:\/([0-9]{1,3}))?\](?::([0-9]{1,5}))?$/;

const parseRange = (text: string): Range | undefined => {
  const [, ip, prefixText, portText] = V4_RANGE.exec(text) ?? V6_BRACKETS.exec(text) ?? V6_RANGE.exec(text) ?? [];
  if (ip === undefined || isIP(ip) === 0) return undefined;
  const bits = isIP(ip) === 4 ? 32 : 128;
  const prefix = prefixText === undefined ? bits : Number(prefixText);
  const port = portText === undefined ? undefined : Number(portText);
  if (prefix > bits || (port !== undefined && (port < 1 || port > 65535))) return undefined;
  return { port, addresses: listOf([`${ip}/${prefix}`]) };
};

/** Everything in IANA's IPv4 special-purpose registry that is not global, and single addresses of metadata services. */
const REFUSED_V4 = [
  '0.0.0.0/8', // this network
  '10.0.0.0/8', // private
  '100.64.0.0/10', // carrier-grade NAT; 100.100.100.200 gives out metadata
  '127.0.0.0/8', // loopback
  '168.63.129.16/32', // metadata
  '169.254.0.0/16', // link-local; 169.254.169.254 gives out metadata
  '172.16.0.0/12', // private
  '192.0.0.0/24', // protocol assignments; 192.0.0.192 gives out metadata
  '192.0.2.0/24', // documentation
  '192.88.99.0/24', // 6to4 relays
  '192.168.0.0/16', // private
  '198.18.0.0/15', // benchmarks
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, broadcast
];

/** IPv6 is refused but for global unicast, IPv4-mapped and NAT64 addresses, less what hides in them. */
const GLOBAL_V6 = ['2000::/3', '::ffff:0.0.0.0/96', '64:ff9b::/96'];
const REFUSED_V6 = [
  '2001::/23', // protocol assignments, Teredo
  '2001:db8::/32', // documentation
  '2002::/16', // 6to4
  '3fff::/20', // documentation
];

const nat64 = (subnet: string): string => {
  const [ip, prefix] = subnet.split('/');
  return `64:ff9b::${ip}/${96 + Number(prefix)}`;
};

const family = (ip: string): 'ipv4' | 'ipv6' => (isIP(ip) === 4 ? 'ipv4' : 'ipv6');

const listOf = (subnets: readonly string[]): BlockList => {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [ip = '', prefix] = subnet.split('/');
    list.addSubnet(ip, Number(prefix), family(ip));
  }
  return list;
};

// A BlockList takes an IPv4-mapped IPv6 address for the IPv4 address that it stands for.
const refused = listOf([...REFUSED_V4, ...REFUSED_V4.map(nat64), ...REFUSED_V6]);
const globalV6 = listOf(GLOBAL_V6);
const loopback = listOf(['127.0.0.0/8', '::1/128']);
const unspecified = listOf(['0.0.0.0/8', '::/128']);

const isPlainAddress = (ip: string): boolean => isIP(ip) !== 0 && !ip.includes('%');

const holds = (list: BlockList, ip: string): boolean => isPlainAddress(ip) && list.check(ip, family(ip));

const isPublic = (ip: string): boolean => !holds(refused, ip) && (isIP(ip) === 4 || holds(globalV6, ip));

type Listener = (ip: string, port: number) => boolean;

// Errs on the side of refusing: a listener on every address, or on a name, is looked for at every inner address.
const compileListener = (own: Endpoint): Listener => {
  const host = own.host.replace(/^\[(.*)\]$/, '$1');
  const isAddress = isIP(host) !== 0 && !holds(unspecified, host);
  const exact = isAddress ? listOf([`${host}/${isIP(host) === 4 ? 32 : 128}`]) : undefined;
  const isLoopback = isAddress ? holds(loopback, host) : isLocalhost(host);
  const here = (ip: string): boolean => {
    if (isLoopback) return holds(loopback, ip);
    return exact === undefined ? !isPublic(ip) : holds(exact, ip);
  };
  // To dial the unspecified address is to dial this host.
  return (ip, port) => port === own.port && (holds(unspecified, ip) || here(ip));
};

const isLocalhost = (host: string): boolean => /^(?:.*\.)?localhost\.?$/i.test(host);

// The addresses that a host stands for without the DNS: of `localhost` either, of a name none.
const literalAddresses = (hostname: string): readonly string[] => {
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(host) !== 0) return [host];
  return isLocalhost(host) ? ['127.0.0.1', '::1'] : [];
};

const DNS_NAME = /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/;
const METADATA_NAMES = /^(?:metadata|metadata\.goog|metadata\.google\.internal|instance-data(?:\.ec2\.internal)?)$/;

const refuseStrangeUrl = (url: URL): void => {
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw wrongUrl('only https: and http: can be forwarded to');
  if (url.username !== '' || url.password !== '') throw wrongUrl('a URL with a user or password is refused');
  if (/[?#]/.test(url.href)) throw wrongUrl('a query or fragment is refused');
  if (url.port === '0') throw wrongUrl('port 0 cannot be dialled');
  const ambiguity = findAmbiguity(url.pathname, false);
  if (ambiguity !== undefined) throw wrongUrl(`its path has ${ambiguity.reason}`);
  if (literalAddresses(url.hostname).length > 0) return;
  if (!DNS_NAME.test(url.hostname)) throw wrongUrl('its host is not a DNS name without a dot at the end');
  // RFC 5891 §4.4: what says that it is punycode and is not, no two readers agree on.
  if (/(?:^|\.)xn--/.test(domainToUnicode(url.hostname))) throw wrongUrl('its host holds punycode that is none');
  if (METADATA_NAMES.test(url.hostname)) throw wrongUrl('a metadata service is refused');
};

const portOf = (url: URL): number => {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'https:' ? 443 : 80;
};

const wrongUrl = (why: string): DaypassError =>
  new DaypassError('invalid_argument', `the upstream is refused: ${why}`, { field: 'upstream' });
