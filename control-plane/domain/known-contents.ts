// Contents of snapshots that the next ones are made of, by the digest of their manifests.
import type { Content } from './snapshot-content.ts';
import type { Step } from './snapshot-state.ts';

/** A content, and what led to it where that is known. */
export type KnownContent = Content & { readonly step?: Step | undefined };

/** Contents that are kept. */
export type KnownContents = {
  get(pool: string, digest: string): KnownContent | undefined;
  /** Keeps one that is not committed yet; a few of a pool are kept, the committed one besides. */
  keep(pool: string, digest: string, content: KnownContent): KnownContent;
  /** Says that this one was committed: those before it are not needed any more. */
  commit(pool: string, digest: string): void;
};

/** Of one pool, not committed. What is not kept is read from nothing. */
const KEPT_MAX = 4;

type Kept = { committed: readonly [string, KnownContent] | undefined; readonly others: Map<string, KnownContent> };

/** Makes an empty memory. */
export const createKnownContents = (): KnownContents => {
  const pools = new Map<string, Kept>();
  const get = (pool: string, digest: string): KnownContent | undefined => {
    const kept = pools.get(pool);
    return kept?.committed?.[0] === digest ? kept.committed[1] : kept?.others.get(digest);
  };
  return {
    get,
    keep: (pool, digest, content) => {
      const kept = pools.get(pool) ?? { committed: undefined, others: new Map() };
      pools.set(pool, kept);
      kept.others.set(digest, content);
      const [oldest] = kept.others.keys();
      if (oldest !== undefined && kept.others.size > KEPT_MAX) kept.others.delete(oldest);
      return content;
    },
    commit: (pool, digest) => {
      const [kept, content] = [pools.get(pool), get(pool, digest)];
      if (kept === undefined || content === undefined) return;
      kept.committed = [digest, content];
      kept.others.delete(digest);
    },
  };
};
