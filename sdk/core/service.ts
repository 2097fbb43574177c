// A registered service as every part of Daypass sees it: the registry stores it, a snapshot carries it.

/** Where the credential is put on a request. */
export type CredentialPlace =
  | { readonly kind: 'bearer' }
  | { readonly kind: 'basic' }
  /** `template` holds `{secret}` exactly once. */
  | { readonly kind: 'header'; readonly name: string; readonly template: string }
  | { readonly kind: 'query'; readonly name: string };

/** Where a token may be presented. Header names are lower-case. */
export type TokenPlace =
  | { readonly kind: 'bearer' }
  | { readonly kind: 'token' }
  | { readonly kind: 'basic' }
  | { readonly kind: 'header'; readonly name: string };

/** Requests in a time, by token bucket. */
export type Rate = { readonly requests: number; readonly per_seconds: number };

/** The content of a `service` entry of a snapshot: all of a service but its sealed credential and named scopes. */
export type ServiceConfig = {
  readonly name: string;
  readonly pool: string;
  /** Exact origin: `https://host[:port]`, default port left out. */
  readonly origin: string;
  /** `''` or `/base/path` without a slash at the end. */
  readonly base_path: string;
  readonly place: CredentialPlace | null;
  readonly token_in: readonly TokenPlace[];
  readonly is_default: boolean;
  readonly anonymous: boolean;
  readonly insecure_upstream: boolean;
  readonly max_ttl_seconds: number;
  readonly connect_timeout_ms: number;
  readonly response_timeout_ms: number;
  /** `null`: every client label; `[]`: none. */
  readonly clients: readonly string[] | null;
  readonly drop_headers: readonly string[];
  readonly set_headers: Readonly<Record<string, string>>;
  readonly drop_query: readonly string[];
  readonly limits: {
    readonly per_token: Rate | null;
    readonly per_client: Rate | null;
    readonly per_service: Rate | null;
  };
  /** Forwards paths with `%2F` in a segment; absent: they are refused. */
  readonly encoded_slashes?: boolean;
};

/** The content of a `credential` entry, named after its service. */
export type CredentialEntry = { readonly id: string; readonly sealed: string };

/** The content of a `scope` entry, named `<service>/<scope>`. */
export type ScopeEntry = { readonly rules: readonly string[] };

/** The content of a `key` entry, named after the `kid`: a key that verifies tokens. */
export type KeyEntry = {
  readonly kid: string;
  readonly alg: 'Ed25519' | 'ES256';
  /** The `iss` of the tokens that it signs. */
  readonly issuer: string;
  readonly jwk: Readonly<Record<string, string>>;
};

/** The content of a `status` entry, named after its chunk number: a Token Status List chunk with 1 bit a token. */
export type StatusEntry = {
  readonly bits: 1;
  /** base64url of the zlib-compressed bit string (IETF Token Status List §4.1). */
  readonly lst: string;
};

/** The content of a `cutoff` entry: refuses tokens that fit every member given and have `iat <= minted_before` (seconds, ms precision). */
export type CutOffEntry = {
  readonly service?: string;
  readonly client?: string;
  readonly subject?: string;
  readonly caller?: string;
  readonly credential_id?: string;
  readonly minted_before: number;
};

/** The content of the `pool` entry, named after the pool. */
export type PoolEntry = {
  /** Data planes that are enrolled in it. */
  readonly nodes: number;
};

/** Tokens of a status chunk; index `idx` of a token is within its chunk. */
export const STATUS_CHUNK_BITS = 65536;

export const DEFAULT_TTL_SECONDS = 15 * 60;
export const DEFAULT_MAX_TTL_SECONDS = 24 * 60 * 60;
export const LARGEST_TTL_SECONDS = 366 * 24 * 60 * 60;
export const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
export const DEFAULT_RESPONSE_TIMEOUT_MS = 300_000;
