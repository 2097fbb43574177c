// Where each attack case is played, and why some are not yet: the whole of test/attacks/attack-cases.json, by id.

/** A test file that plays the case: it holds the id, or the named test. */
export type Played = { readonly file: string; readonly title?: string };

/** A case that cannot be played yet, and the part of the product that will play it. */
export type Pending = { readonly pending: string; readonly owner: string };

const byId = (file: string, ...ids: readonly string[]): Readonly<Record<string, Played>> =>
  Object.fromEntries(ids.map((id) => [id, { file }]));

const every2 = (group: string, from: number, to: number): readonly string[] =>
  Array.from({ length: (to - from) / 2 + 1 }, (_, at) => `${group}-${String(from + 2 * at).padStart(2, '0')}`);

/** Levels whose cases are data: one runner plays every one of the level. */
export const RUNNERS = {
  http: 'test/data-plane/attacks.test.ts',
  upstream: 'test/data-plane/attacks.test.ts',
  token: 'test/attacks/token.test.ts',
} as const;

/** Cases that are pending, whatever their level. */
export const PENDING: Readonly<Record<string, Pending>> = {
  'RSP-05': { pending: 'bodies are not searched for the credential yet (`scrub: full`)', owner: 'body scrubbing' },
  'AUD-11': {
    pending: 'there are no signed tree heads yet; a fork against what is stored is refused',
    owner: 'audit verification',
  },
  'AUD-17': { pending: 'a Query is not a change, and only changes are audited', owner: 'audit verification' },
  'CPL-21': { pending: 'there is no console yet', owner: 'console' },
  'CPL-23': { pending: 'there is no console yet', owner: 'console' },
  'CPL-25': { pending: 'there is no console yet', owner: 'console' },
  'SEC-07': {
    pending:
      'no secret is compared here: keys are looked up by their hash; the timing test is a measurement of its own',
    owner: 'measurements',
  },
};

/** Cases of the levels connection and control. */
export const PLAYED: Readonly<Record<string, Played>> = {
  ...byId('test/attacks/connection.test.ts', ...every2('DOS', 1, 23)),
  // SSR-01 to SSR-69 are data: the file reads them from the cases.
  ...Object.fromEntries(
    every2('SSR', 1, 69).map((id) => [id, { file: 'test/attacks/ssrf.test.ts', title: '%s: the upstream %j' }]),
  ),
  ...byId('test/attacks/ssrf.test.ts', 'SSR-71', 'SSR-73', 'SSR-77', 'SSR-79'),
  'SSR-75': { file: 'test/data-plane/dial.test.ts', title: 'NODE_USE_ENV_PROXY' },
  ...byId('test/attacks/snapshot.test.ts', ...every2('SNP', 1, 19), 'SNP-23', 'SNP-25'),
  ...byId('test/attacks/secrets.test.ts', 'SEC-03', 'SEC-05', 'SEC-09', 'SEC-11', 'SEC-13'),
  ...byId('test/core/snapshot-keys.test.ts', 'SNP-21'),
  ...byId('test/e2e/rotation.test.ts', 'MNT-15'),
  ...byId('test/attacks/records.test.ts', 'AUD-01', 'AUD-03', 'AUD-05', 'AUD-09', 'AUD-15'),
  'AUD-07': {
    file: 'test/data-plane/record.test.ts',
    title: 'every connection to the upstream belongs to a recorded request',
  },
  'AUD-13': { file: 'test/e2e/canary.test.ts', title: 'no log, audit, spool or listing holds a live token either' },
  ...byId('test/attacks/mint.test.ts', ...every2('MNT', 1, 13), ...every2('MNT', 17, 25)),
  ...byId(
    'test/attacks/control-plane.test.ts',
    'CPL-01',
    'CPL-05',
    'CPL-07',
    'CPL-09',
    'CPL-13',
    'CPL-15',
    'CPL-17',
    'CPL-27',
    'CPL-31',
  ),
  'CPL-03': {
    file: 'test/control-plane/policy.test.ts',
    title: 'every RPC of every service stands in the table, and nothing else does',
  },
  'CPL-11': {
    file: 'test/control-plane/attacks.test.ts',
    title: 'a browser page can neither read nor be let in: no CORS, no preflight, GET needs the key',
  },
  'CPL-19': { file: 'test/control-plane/hostile-node.test.ts', title: 'of many updates with one etag, one is made' },
  'CPL-29': {
    file: 'test/control-plane/config.test.ts',
    title: 'an address that others reach needs TLS, or the word of the operator',
  },
  'SEC-01': {
    file: 'test/e2e/canary.test.ts',
    title: 'no answer, log, database, snapshot, audit, spool or process listing holds one',
  },
};

/** Cases, or parts of them, that are taken to be wrong for this product; they are played all the same. */
export const JUDGED_WRONG: Readonly<Record<string, string>> = {
  'TOK-43':
    '`at+jwt` stands among the types of other kinds; it is the type of our own tokens (RFC 9068), and is let through',
  'TOK-71':
    'a blank behind the token is no part of a header value (RFC 9110 §5.5): it is tried in Basic, where it stays',
  'MNT-11':
    "the answer is the same for what is another's and what is not there, but it is permission_denied, not not_found",
  'SNP-21':
    'the root is pinned, not rotated over the wire: what is rotated is the snapshot key, and it is the root that must sign the new one',
  'MNT-19':
    'the control plane and the data plane never share an origin: what is tried is a service that points at a plane',
};
