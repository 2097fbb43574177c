// Tells this control plane what the others on the same database write, and them what this one writes (LISTEN and NOTIFY).
import type { Notices, StoredChain, Topic } from './interface.ts';
import type { PostgresConnection } from './postgres-connection.ts';
import { COUNTER, type PostgresGroupingOptions } from './postgres-grouping.ts';
import { topicOf } from './postgres-topics.ts';

export type NoticesOptions = {
  /** Opens a connection to listen with. */
  readonly open: () => Promise<PostgresConnection>;
  /** How often it is looked for what no notice told. */
  readonly pollMs?: number;
};

/** Both directions. */
export type PostgresNotices = Notices &
  PostgresGroupingOptions & {
    /** Notes records that this store adds in the group that is under way. */
    stored(chain: StoredChain): void;
    close(): Promise<void>;
  };

const CHANNEL = 'daypass';
const POLL_MS = 2000;
const RECONNECT_MS_MAX = 2000;
const TOPICS: readonly Topic[] = ['snapshots', 'reports', 'nodes', 'keys', 'audit'];
/** To look for all audit again is dear; while a connection lives none of its notices is lost. */
const POLLED = TOPICS.filter((topic) => topic !== 'audit');

/** Makes both ends; it listens from the first listener on, on a connection of its own that is opened again whenever it ends. */
export const createNotices = ({ open, pollMs = POLL_MS }: NoticesOptions): PostgresNotices => {
  const listeners = new Set<Parameters<Notices['on']>[0]>();
  const sent = createSent();
  const foreign = createForeign();
  const stopping = new AbortController();
  let connection: PostgresConnection | undefined;
  let running: Promise<void> | undefined;

  const tell: Parameters<Notices['on']>[0] = (topic, chain) => {
    if (stopping.signal.aborted) return;
    for (const listener of listeners) listener(topic, chain);
  };
  const tellAll = (topics = TOPICS): void => {
    for (const topic of topics) tell(topic);
  };

  /** Listens until the connection ends. */
  const session = async (): Promise<void> => {
    connection = await open();
    const ended = new AbortController();
    connection.onEnd(() => ended.abort());
    connection.onNotice(({ pid, payload }) => {
      if (!foreign.isOwn(pid)) tell(...read(payload));
    });
    await connection.exec(`listen ${CHANNEL}`);
    foreign.seenAll(await lastGroup(connection));
    // What came while nobody listened.
    tellAll();
    while (!connection.broken()) {
      await pause(pollMs, ended.signal);
      if (!connection.broken() && foreign.seenAll(await lastGroup(connection))) tellAll(POLLED);
    }
  };

  const run = async (): Promise<void> => {
    let waitMs = 50;
    while (!stopping.signal.aborted) {
      const started = performance.now();
      await session().catch(() => {});
      await connection?.close();
      waitMs = performance.now() - started > RECONNECT_MS_MAX ? 50 : Math.min(2 * waitMs, RECONNECT_MS_MAX);
      await pause(waitMs, stopping.signal);
    }
  };

  return {
    on: (listener) => {
      listeners.add(listener);
      running ??= run();
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    stored: sent.stored,
    counted: (group, pid) => {
      sent.begin();
      foreign.counted(group, pid);
    },
    unknown: () => tellAll(),
    notices: (wrote) => sent.statements(wrote),
    close: async () => {
      stopping.abort();
      await connection?.close();
      await running;
    },
  };
};

/** What the group under way has to tell. */
const createSent = () => {
  let chains = new Map<string, StoredChain>();
  return {
    begin: (): void => {
      chains = new Map();
    },
    stored: ({ node, firstSeq, lastSeq }: StoredChain): void => {
      const known = chains.get(node) ?? { node, firstSeq, lastSeq };
      const [first, last] = [Math.min(known.firstSeq, firstSeq), Math.max(known.lastSeq, lastSeq)];
      chains.set(node, { node, firstSeq: first, lastSeq: last });
    },
    statements: (wrote: ReadonlySet<string>): string => {
      const topics = new Set([...wrote].map(topicOf).filter((topic) => topic !== undefined && topic !== 'audit'));
      const payloads = [...topics, ...[...chains.values()].map((chain) => `audit ${JSON.stringify(chain)}`)];
      return payloads.map((payload) => `notify ${CHANNEL}, ${literal(payload)}; `).join('');
    },
  };
};

/** The most that a notice can say, with room to spare (8000 bytes). */
const PAYLOAD_MAX = 2000;

/** A payload as SQL; one that is too long says its topic alone. */
const literal = (payload: string): string =>
  `'${(payload.length > PAYLOAD_MAX ? payload.split(' ', 1).join() : payload).replaceAll("'", "''")}'`;

/** Reads a payload; what is not understood may be of a newer version, and is no news of anything known. */
const read = (payload: string): [Topic, StoredChain?] => {
  const [name = '', ...rest] = payload.split(' ');
  const topic = TOPICS.find((one) => one === name) ?? 'audit';
  if (rest.length === 0) return [topic];
  try {
    const { node, firstSeq, lastSeq } = JSON.parse(rest.join(' ')) as StoredChain;
    return [topic, { node: String(node), firstSeq: Number(firstSeq), lastSeq: Number(lastSeq) }];
  } catch {
    return [topic];
  }
};

/** Own processes at the server that are remembered: the writer's, and the one before. */
const PIDS_MAX = 4;

/** Tells what others did from what this store did. */
const createForeign = () => {
  const pids: number[] = [];
  let last = 0;
  /** Whether another group came between two of this store. */
  let gap = false;
  return {
    isOwn: (pid: number): boolean => pids.includes(pid),
    counted: (group: number, pid: number): void => {
      if (!pids.includes(pid)) pids.unshift(pid);
      pids.splice(PIDS_MAX);
      if (group > last + 1) gap = true;
      last = Math.max(last, group);
    },
    /** Takes notice of all groups; whether any was another's. */
    seenAll: (group: number): boolean => {
      const news = gap || group > last;
      gap = false;
      last = Math.max(last, group);
      return news;
    },
  };
};

const lastGroup = async (connection: PostgresConnection): Promise<number> =>
  Number((await connection.exec(`select last_value as "group" from ${COUNTER}`))?.group);

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
  });
