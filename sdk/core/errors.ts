// The one catalogue of errors: a stable code, who has to act, and how it looks over HTTP and over Connect.

/** Who has to act on an error. */
export type Owner = 'client' | 'config' | 'upstream' | 'platform';

/** A Connect code by its wire name (https://connectrpc.com/docs/protocol#error-codes). */
export type ConnectCode =
  | 'invalid_argument'
  | 'unauthenticated'
  | 'permission_denied'
  | 'not_found'
  | 'already_exists'
  | 'failed_precondition'
  | 'aborted'
  | 'resource_exhausted'
  | 'unavailable'
  | 'deadline_exceeded'
  | 'internal';

/** RFC 6750 §3.1, RFC 9449 §7.1: `error` of a challenge; an empty string is a challenge without one. */
export type Challenge =
  | ''
  | 'invalid_token'
  | 'insufficient_scope'
  | 'invalid_request'
  | 'invalid_dpop_proof'
  | 'use_dpop_nonce';

type Entry = {
  readonly owner: Owner;
  /** HTTP status (RFC 9110). */
  readonly status: number;
  readonly connect: ConnectCode;
  /** RFC 9457 `title`: the same for every occurrence. */
  readonly title: string;
  /** What the WWW-Authenticate challenge says is wrong. */
  readonly challenge?: Challenge;
};

const entry = (owner: Owner, status: number, connect: ConnectCode, title: string): Entry => ({
  owner,
  status,
  connect,
  title,
});
const invalidToken = (title: string): Entry => ({
  ...entry('client', 401, 'unauthenticated', title),
  challenge: 'invalid_token',
});
const invalidProof = (title: string): Entry => ({
  ...entry('client', 401, 'unauthenticated', title),
  challenge: 'invalid_dpop_proof',
});
const sealRefused = (title: string): Entry => entry('client', 403, 'permission_denied', title);
const nack = (title: string): Entry => entry('platform', 503, 'failed_precondition', title);

/** Every code there is. Codes are stable; messages are not. */
export const catalogue = {
  // What was asked is wrong in form.
  invalid_argument: entry('client', 400, 'invalid_argument', 'An argument is wrong'),
  invalid_rule: entry('client', 400, 'invalid_argument', 'A scope rule is wrong'),
  invalid_json: entry('client', 400, 'invalid_argument', 'The JSON is wrong'),
  target_ambiguous: entry('client', 400, 'invalid_argument', 'The request target can be read in two ways'),
  framing_invalid: entry('client', 400, 'invalid_argument', 'The framing of the request is wrong'),
  header_invalid: entry('client', 400, 'invalid_argument', 'A request header is wrong'),
  host_invalid: entry('client', 400, 'invalid_argument', 'The Host header is wrong'),
  expectation_failed: entry('client', 417, 'invalid_argument', 'The expectation cannot be met'),
  method_refused: entry('client', 501, 'invalid_argument', 'The method is never forwarded'),
  upgrade_refused: entry('client', 400, 'invalid_argument', 'Upgrades are not forwarded'),
  headers_too_large: entry('client', 431, 'resource_exhausted', 'The request head is too large'),
  body_too_large: entry('client', 413, 'resource_exhausted', 'The request body is too large'),
  request_timeout: entry('client', 408, 'deadline_exceeded', 'The request did not arrive in time'),

  // Who asks.
  token_missing: { ...entry('client', 401, 'unauthenticated', 'A token is needed'), challenge: '' },
  token_malformed: invalidToken('The token is not a Daypass token'),
  token_key_unknown: invalidToken('The token was signed with a key that is not active'),
  token_signature_invalid: invalidToken('The token is not signed by this fleet'),
  token_issuer_wrong: invalidToken('The token has another issuer'),
  token_audience_wrong: invalidToken('The token is for another fleet'),
  token_expired: invalidToken('The token has expired'),
  token_not_yet_valid: invalidToken('The token is not valid yet'),
  token_revoked: invalidToken('The token has been revoked'),
  token_lifetime_refused: invalidToken('The token lives longer than its service allows'),
  token_ambiguous: {
    ...entry('client', 400, 'invalid_argument', 'The request carries more than one credential'),
    challenge: 'invalid_request',
  },
  token_scheme_wrong: invalidToken('The token is presented under a scheme that it is not for'),
  proof_missing: invalidProof('The token needs a DPoP proof'),
  proof_invalid: invalidProof('The DPoP proof is wrong'),
  proof_replayed: invalidProof('The DPoP proof was used before'),
  proof_nonce_required: {
    ...entry('client', 401, 'unauthenticated', 'The DPoP proof needs the nonce of this answer'),
    challenge: 'use_dpop_nonce',
  },
  unauthenticated: { ...entry('client', 401, 'unauthenticated', 'An API key is needed'), challenge: '' },

  // What it may do.
  scope_refused: {
    ...entry('client', 403, 'permission_denied', 'The token does not allow this request'),
    challenge: 'insufficient_scope',
  },
  service_wrong: entry('client', 403, 'permission_denied', 'The token is for another service'),
  client_refused: entry('client', 403, 'permission_denied', 'The service is closed to this client'),
  permission_denied: entry('client', 403, 'permission_denied', 'This caller may not do that'),
  rate_limited: entry('client', 429, 'resource_exhausted', 'Too many requests'),
  seal_key_unknown: sealRefused('The sealed credential is sealed to a key that this data plane does not hold'),
  seal_service_wrong: sealRefused('The sealed credential is for another service'),
  seal_origin_wrong: sealRefused('The sealed credential is for another origin'),
  seal_place_wrong: sealRefused('The sealed credential is for another place'),
  seal_caller_wrong: sealRefused('The sealed credential is not for the caller that minted the token'),
  seal_scope_refused: sealRefused('The sealed credential does not allow this request'),
  seal_expired: sealRefused('The sealed credential has ended'),
  seal_not_yet_valid: sealRefused('The sealed credential is not valid yet'),
  seal_fleet_wrong: sealRefused('The sealed credential is for another fleet or pool'),
  seal_id_wrong: sealRefused('The sealed credential has another id'),
  key_untrusted: entry('client', 403, 'permission_denied', 'A key is not signed by the fleet root'),

  // What is there.
  not_found: entry('client', 404, 'not_found', 'There is no such thing'),
  service_unknown: entry('client', 404, 'not_found', 'There is no such service'),
  already_exists: entry('client', 409, 'already_exists', 'It exists already'),
  failed_precondition: entry('client', 409, 'failed_precondition', 'The state does not allow it'),
  etag_stale: entry('client', 409, 'aborted', 'It was changed by another'),
  audit_conflict: entry('client', 409, 'aborted', 'A record differs from the stored one'),

  // What the service's owner has to mend.
  credential_missing: entry('config', 502, 'failed_precondition', 'There is no credential for this service'),
  seal_malformed: entry('config', 502, 'failed_precondition', 'The sealed credential cannot be read'),
  upstream_address_refused: entry('config', 502, 'failed_precondition', 'The upstream resolves to a refused address'),
  config_invalid: entry('config', 500, 'invalid_argument', 'The configuration is wrong'),

  // What the upstream did.
  upstream_unreachable: entry('upstream', 502, 'unavailable', 'The upstream cannot be reached'),
  upstream_response_invalid: entry(
    'upstream',
    502,
    'unavailable',
    'The upstream answered with something that is not HTTP',
  ),
  upstream_timeout: entry('upstream', 504, 'deadline_exceeded', 'The upstream did not answer in time'),

  // What the platform could not do.
  snapshot_missing: entry('platform', 503, 'unavailable', 'The data plane has no configuration yet'),
  snapshot_expired: entry('platform', 503, 'unavailable', "The data plane's configuration has expired"),
  audit_unavailable: entry('platform', 503, 'unavailable', 'The audit cannot be written'),
  overloaded: entry('platform', 503, 'resource_exhausted', 'The data plane is overloaded'),
  draining: entry('platform', 503, 'unavailable', 'The data plane is stopping'),
  unavailable: entry('platform', 503, 'unavailable', 'Not available now'),
  database_unavailable: entry('platform', 503, 'unavailable', 'The database cannot be used'),
  internal: entry('platform', 500, 'internal', 'Internal error'),

  // Why a node refuses a snapshot.
  snapshot_malformed: nack('The snapshot cannot be read'),
  snapshot_key_revoked: nack('The snapshot key is of a generation that has ended'),
  snapshot_signature_invalid: nack('The snapshot is not signed by this fleet'),
  snapshot_foreign: nack('The snapshot is of another fleet or pool'),
  snapshot_rollback: nack('The snapshot is older than the active one'),
  snapshot_equivocation: nack('There are two snapshots of one version'),
  snapshot_stale: nack('The snapshot has expired, or is from the future'),
  snapshot_root_mismatch: nack('The entries do not fit the manifest'),
  snapshot_feature_unknown: nack('The snapshot needs a feature that this node does not know'),
  snapshot_base_unknown: nack('The delta leads from another snapshot than the active one'),
  snapshot_too_large: nack('The snapshot is larger than a node takes'),
  snapshot_inconsistent: nack('The entries contradict each other'),
} as const satisfies Record<string, Entry>;

/** A stable error code. */
export type ErrorCode = keyof typeof catalogue;

/** What the catalogue says of a code. */
export const describe = (code: ErrorCode): Entry => catalogue[code];

/** Whether a text is a code of the catalogue. */
export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(catalogue, text);

type Options = {
  /** For the log only; never shown. */
  readonly cause?: unknown;
  /** The argument at fault, as a proto field path, a flag or an environment variable. */
  readonly field?: string;
  /** For a scope refusal: the smallest rule that would have allowed the request. */
  readonly neededRule?: string;
  /** 1-based column in a rule text. */
  readonly column?: number;
};

/** The one error type. `message` is public; `cause` is for the log. */
export class DaypassError extends Error {
  override readonly name = 'DaypassError';
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly neededRule: string | undefined;
  readonly column: number | undefined;

  constructor(code: ErrorCode, message: string, options: Options = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.field = options.field;
    this.neededRule = options.neededRule;
    this.column = options.column;
  }
}
