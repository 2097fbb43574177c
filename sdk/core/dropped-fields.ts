// Which header fields of a request never pass the proxy, and why. What does not pass, no rule can speak of.

/** Whether a request field is for the proxy alone, or could make the upstream see another request. */
export const isRequestFieldDropped = (name: string): boolean =>
  REQUEST_DROPPED.has(name) || REQUEST_DROPPED_HEADS.some((head) => name.startsWith(head));

/** RFC 9110 §7.6.1, and what older agents send. `host` and `content-length` are made anew for the upstream. */
export const HOP_BY_HOP = [
  'connection',
  'expect',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
] as const;

/** The caller's own credentials: it has none to give but its token. */
const CREDENTIALS = [
  'authorization',
  'proxy-authorization',
  'api-key',
  'apikey',
  'dpop',
  'job-token',
  'private-token',
  'x-access-token',
  'x-amz-security-token',
  'x-api-key',
  'x-api-token',
  'x-apikey',
  'x-auth-key',
  'x-auth-token',
  'x-authorization',
  'x-goog-api-key',
  'x-goog-iam-authorization-token',
  'x-shopify-access-token',
  'x-vault-token',
] as const;

/** Fields that make some frameworks see another method, path or host than the one that was authorised. */
const OVERRIDES = [
  'base-url',
  'destination',
  'http-method-override',
  'proxy',
  'proxy-host',
  'proxy-url',
  'request-uri',
  'uri',
  'x-backend-host',
  'x-forwarded',
  'x-host',
  'x-host-override',
  'x-http-destinationurl',
  'x-http-host-override',
  'x-http-method',
  'x-http-method-override',
  'x-http-path-override',
  'x-http-url-override',
  'x-method-override',
  'x-override-url',
  'x-path-override',
  'x-proxy-url',
  'x-requested-method',
  'x-reproxy-url',
  'x-rewrite-uri',
  'x-rewrite-url',
  'x-sendfile',
  'x-url-override',
] as const;

/** What only a trusted proxy may say of a client: its address, its name, its certificate. */
const IDENTITY = [
  'cf-connecting-ip',
  'cf-connecting-ipv6',
  'client-ip',
  'fastly-client-ip',
  'forwarded',
  'forwarded-for',
  'remote-addr',
  'remote-user',
  'ssl-client-cert',
  'true-client-ip',
  'x-authenticated-user',
  'x-authenticated-userid',
  'x-client-cert',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-email',
  'x-groups',
  'x-originating-ip',
  'x-real-ip',
  'x-remote-addr',
  'x-remote-ip',
  'x-remote-user',
  'x-user',
  'x-user-email',
  'x-user-id',
  'x-user-name',
  'x-user-roles',
  'x-username',
  'x-webauth-user',
] as const;

/** Whole families of the three kinds above. */
const REQUEST_DROPPED_HEADS = [
  'x-accel-',
  'x-amzn-oidc-',
  'x-appengine-',
  'x-auth-request-',
  'x-envoy-',
  'x-forwarded-',
  'x-goog-authenticated-user-',
  'x-ms-client-principal',
  'x-original-',
  'x-ssl-',
  'tailscale-user-',
] as const;

const REQUEST_DROPPED: ReadonlySet<string> = new Set<string>([
  'host',
  'content-length',
  ...HOP_BY_HOP,
  ...CREDENTIALS,
  ...OVERRIDES,
  ...IDENTITY,
]);
