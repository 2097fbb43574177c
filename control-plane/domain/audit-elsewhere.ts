// Hands those who follow the audit what other control planes have stored.
import type { Aggregates, StoredChain } from '../store/interface.ts';
import type { AuditFeed } from './audit-feed.ts';

type Deps = {
  readonly read: Pick<Aggregates, 'audit'>;
  readonly feed: Pick<AuditFeed, 'publish' | 'listening' | 'lost'>;
  /** Milliseconds. */
  readonly now: () => number;
};

/** Most records of one notice that are looked up; beyond that the followers look by themselves. */
const RECORDS_MAX = 1000;
/** Notices that wait for their turn. */
const WAITING_MAX = 200;
/** An event is stored so long after its time, at most, that it is still found. */
const LATE_MS = 60_000;
/** Further back nobody looks for what may have been missed. */
const LOOK_BACK_MS = 3_600_000;

/** Makes the listener to notices of the audit: of a chain, or of what may have been stored since the last of them. */
export const createAuditElsewhere = ({
  read,
  feed,
  now,
}: Deps): ((chain: StoredChain | undefined) => Promise<void>) => {
  let heardAt = now();
  let waiting = 0;
  let turn: Promise<void> = Promise.resolve();
  const missed = (): void => feed.lost(Math.max(heardAt, now() - LOOK_BACK_MS) - LATE_MS);

  const lookUp = async ({ node, firstSeq, lastSeq }: StoredChain): Promise<void> => {
    const records = await read.audit.records(node, firstSeq, lastSeq, RECORDS_MAX);
    if (records.length === RECORDS_MAX) missed();
    const ids = new Set(records.map(decisionOf).filter((id) => id !== undefined));
    const events = await read.audit.ofDecisions([...ids]);
    feed.publish(events.filter((event) => event.node === node).sort((a, b) => a.seq - b.seq));
  };

  return (chain) => {
    if (!feed.listening() || chain === undefined || waiting >= WAITING_MAX) {
      if (feed.listening()) missed();
      heardAt = now();
      return Promise.resolve();
    }
    heardAt = now();
    waiting += 1;
    turn = turn
      .then(() => lookUp(chain))
      .catch(missed)
      .finally(() => {
        waiting -= 1;
      });
    return turn;
  };
};

/** A record's own form is its writer's; every one says the decision that it is about. */
const decisionOf = (bytes: Uint8Array): string | undefined => {
  const record: unknown = JSON.parse(new TextDecoder().decode(bytes));
  const id: unknown = typeof record === 'object' && record !== null ? Reflect.get(record, 'id') : undefined;
  return typeof id === 'string' ? id : undefined;
};
