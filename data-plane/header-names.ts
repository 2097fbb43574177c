// Which header fields never pass the proxy, and why.
import { HOP_BY_HOP } from '@daypass/core/dropped-fields';
import { REFUSAL_HEADER } from '@daypass/core/error-wire';

/** The lower-case form of a field name, or '' for a name that an upstream could read as another (`X_Api_Key`). */
export const plainName = remembered((raw) => (/^[A-Za-z0-9-]+$/.test(raw) ? raw.toLowerCase() : ''));

/** The lower-case form of a field name, whatever it holds. */
export const lowerCase = remembered((raw) => raw.toLowerCase());

/** The field names that a Connection field lists, in lower case (RFC 9110 §7.6.1). */
export const optionNames = (value: string): readonly string[] =>
  value
    .toLowerCase()
    .split(',')
    .map((option) => option.trim())
    .filter((name) => name !== '' && name !== 'close' && name !== 'keep-alive');

/** Whether a response field is for the proxy alone, or would take effect on all that the proxy's own origin serves. */
export const isResponseFieldDropped = (name: string): boolean => RESPONSE_DROPPED.has(name);

/** Remembers names, so that the usual dozen is looked at once. */
function remembered(make: (raw: string) => string): (raw: string) => string {
  const seen = new Map<string, string>();
  return (raw) => {
    const known = seen.get(raw);
    if (known !== undefined) return known;
    const name = make(raw);
    if (seen.size >= 1024) seen.clear();
    // A copy: what is cut from a head keeps all of it.
    if (raw.length <= 64) seen.set(Buffer.from(raw, 'latin1').toString('latin1'), name);
    return name;
  };
}

const RESPONSE_DROPPED: ReadonlySet<string> = new Set<string>([
  ...HOP_BY_HOP,
  // It says that the proxy itself refused.
  REFUSAL_HEADER,
  // Proofs are made for this proxy: the nonce of somebody behind it would be a wrong one.
  'dpop-nonce',
  // Answered for one service, they would govern every service behind the same origin.
  'alt-svc',
  'clear-site-data',
  'nel',
  'public-key-pins',
  'public-key-pins-report-only',
  'report-to',
  'service-worker-allowed',
  'strict-transport-security',
  // They order a web server in front of the proxy to fetch something else.
  'x-accel-redirect',
  'x-lighttpd-send-file',
  'x-reproxy-url',
  'x-sendfile',
]);
