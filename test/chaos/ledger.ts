// What has been acknowledged, and what each answer may therefore be: the rules that no kill may break. Pure.

/** A change that the control plane has acknowledged: in force wherever this snapshot version, or a newer one, decides. */
export type Receipt = {
  readonly version: number;
  readonly acknowledged: readonly string[];
  /** When the lease of each node that had it not yet ends, in milliseconds since the epoch. */
  readonly missing: ReadonlyMap<string, number>;
};

/** A service whose upstream's path says which of its configurations is in force. */
export type ServiceFacts = {
  readonly name: string;
  /** What its registration was acknowledged with. */
  readonly created: Receipt;
  /** The highest generation that was asked for. */
  asked: number;
  /** Generations that were acknowledged, in their order, and with which version. */
  readonly acknowledged: { readonly generation: number; readonly version: number }[];
  /** Set before Delete is called. */
  isDeleteAsked: boolean;
  /** Set when Delete was acknowledged. */
  deleted?: Receipt;
};

export type TokenFacts = {
  readonly jti: string;
  readonly client: string;
  readonly text: string;
  readonly service: ServiceFacts;
  /** Set before Revoke is called. */
  isRevokeAsked: boolean;
  /** Set when Revoke was acknowledged. */
  revoked?: Receipt;
};

/** An answer of a data plane, and what was known when it was asked. */
export type Answer = {
  readonly node: string;
  readonly token: TokenFacts;
  /** Milliseconds since the epoch. */
  readonly sentAt: number;
  /** The version that the node was known to have when it was asked. */
  readonly knownVersion: number;
  readonly status: number;
  /** Of a refusal. */
  readonly code?: string | undefined;
  /** Of an answer that was forwarded: the version that decided, and the generation that the upstream was asked for. */
  readonly version?: number | undefined;
  readonly generation?: number | undefined;
};

/** What a rule says: nothing, that the node could not serve, or that a promise is broken. */
export type Verdict =
  | { readonly kind: 'right' }
  | { readonly kind: 'unable'; readonly why: string }
  | { readonly kind: 'wrong'; readonly why: string };

/** Codes by which a node says that it cannot serve now. */
const UNABLE = new Set([
  'draining',
  'unavailable',
  'overloaded',
  'snapshot_missing',
  'snapshot_expired',
  'audit_unavailable',
]);

/** Holds an answer against what was acknowledged. */
export function judge(answer: Answer): Verdict {
  const { code } = answer;
  if (code === undefined) return judgeForwarded(answer);
  if (UNABLE.has(code)) return { kind: 'unable', why: code };
  if (code === 'token_revoked')
    return answer.token.isRevokeAsked ? RIGHT : wrong('a token was refused as revoked that nobody revoked');
  const { created, isDeleteAsked } = answer.token.service;
  if (code === 'service_unknown' && (isDeleteAsked || answer.knownVersion < created.version)) return RIGHT;
  return wrong(`a good token was refused: ${answer.status} ${code}`);
}

function judgeForwarded({ token, node, sentAt, knownVersion, status, version, generation }: Answer): Verdict {
  if (status !== 200 || version === undefined || generation === undefined)
    return wrong(`the upstream's answer did not come through: ${status}`);
  if (version < knownVersion) return wrong(`the node went back: version ${version} after ${knownVersion}`);
  const { revoked, service } = token;
  if (service.deleted !== undefined && version >= service.deleted.version)
    return wrong(`a service worked at version ${version}; it was deleted by ${service.deleted.version}`);
  if (revoked !== undefined && version >= revoked.version)
    return wrong(`a token worked at version ${version}; it was revoked by ${revoked.version}`);
  if (revoked !== undefined && sentAt > (revoked.missing.get(node) ?? Number.POSITIVE_INFINITY))
    return wrong('a revoked token worked on a node whose lease had ended');
  if (generation > service.asked) return wrong(`generation ${generation}, and only ${service.asked} was asked for`);
  const least = generationAt(service, version);
  if (generation < least)
    return wrong(`version ${version} has generation ${generation}; ${least} was acknowledged by it`);
  return RIGHT;
}

/** The generation that was acknowledged by a version: at least this one is in force there. */
export function generationAt({ acknowledged }: ServiceFacts, version: number): number {
  return acknowledged.findLast((one) => one.version <= version)?.generation ?? 0;
}

const RIGHT: Verdict = { kind: 'right' };

const wrong = (why: string): Verdict => ({ kind: 'wrong', why });

/** The version that each node is known to have: it never has an older one again, whatever happens to it. */
export type KnownVersions = {
  of(node: string): number;
  /** The node has shown, or acknowledged, this version. */
  raise(node: string, version: number): void;
  /** Takes a receipt: what a node acknowledged, it has. */
  take(receipt: Receipt): void;
};

/** Returns an empty record. */
export function createKnownVersions(): KnownVersions {
  const versions = new Map<string, number>();
  const of = (node: string) => versions.get(node) ?? 0;
  const raise = (node: string, version: number): void => {
    if (version > of(node)) versions.set(node, version);
  };
  return {
    of,
    raise,
    take: ({ acknowledged, version }) => {
      for (const node of acknowledged) raise(node, version);
    },
  };
}
