// Counts refusals before authentication, so that an outsider's flood becomes one record a second by reason and network.
import type { ErrorCode } from '@daypass/core/errors';
import { networkOf } from './network.ts';
import type { DecisionInput } from './sink.ts';

const KEYS_MAX = 64;
const WINDOW_MS = 1000;
const TICK_MS = 250;
const COUNT_MAX = 0xffff_ffff;
const SERVICE_MAX = 63;

type Deps = {
  /** Writes records; false when they could not be written: they are counted on and tried again. */
  readonly write: (records: readonly DecisionInput[]) => boolean;
  readonly now: () => number;
  readonly newId: () => string;
  readonly snapshotVersion: () => number;
};

type Kind = {
  readonly reason: ErrorCode;
  readonly source: string;
  readonly service: string;
  /** Refusals that are not written yet. */
  count: number;
  /** No record of this kind before this time (ms). */
  dueAt: number;
};

export type RefusalCounter = {
  /** Writes the first of its kind at once, the others of the second that follows together at its end. */
  count(reason: ErrorCode, remoteAddress: string, service: string): void;
  /** Writes all that is counted, and ends. */
  close(): void;
};

/** At most 64 kinds at a time are told apart; the rest count as source `other`. */
export function createRefusalCounter(deps: Deps): RefusalCounter {
  const kinds = new Map<string, Kind>();
  let timer: NodeJS.Timeout | undefined;

  const kindOf = (reason: ErrorCode, source: string, service: string): Kind => {
    const apart = kinds.has(keyOf(reason, source, service)) || kinds.size < KEYS_MAX;
    const [from, target] = apart ? [source, service] : ['other', ''];
    const kind = kinds.get(keyOf(reason, from, target)) ?? {
      reason,
      source: from,
      service: target,
      count: 0,
      dueAt: 0,
    };
    kinds.set(keyOf(reason, from, target), kind);
    return kind;
  };
  const write = (due: readonly Kind[]) => {
    if (due.length > 0 && !deps.write(due.map((kind) => record(deps, kind)))) return;
    for (const kind of due) {
      kind.count = 0;
      kind.dueAt = deps.now() + WINDOW_MS;
    }
  };
  const tick = () => {
    const due = [...kinds].filter(([, kind]) => kind.dueAt <= deps.now());
    // A kind that was quiet for its whole window is forgotten.
    for (const [key, kind] of due) if (kind.count === 0) kinds.delete(key);
    write(due.map(([, kind]) => kind).filter((kind) => kind.count > 0));
    if (kinds.size === 0) stop();
  };
  const stop = () => {
    clearInterval(timer);
    timer = undefined;
  };

  return {
    count(reason, remoteAddress, service) {
      const kind = kindOf(reason, networkOf(remoteAddress), service.length <= SERVICE_MAX ? service : '');
      kind.count = Math.min(COUNT_MAX, kind.count + 1);
      if (kind.dueAt <= deps.now()) write([kind]);
      timer ??= setInterval(tick, TICK_MS).unref();
    },
    close() {
      stop();
      write([...kinds.values()].filter((kind) => kind.count > 0));
      kinds.clear();
    },
  };
}

const keyOf = (reason: string, source: string, service: string): string => `${reason} ${source} ${service}`;

function record(deps: Deps, kind: Kind): DecisionInput {
  return {
    kind: 'decision',
    id: deps.newId(),
    time: deps.now(),
    result: 'refused',
    reason: kind.reason,
    jti: '',
    caller: '',
    principal: '',
    client: '',
    service: kind.service,
    method: '',
    path: '',
    rule: '',
    credential_id: '',
    snapshot_version: deps.snapshotVersion(),
    count: kind.count,
    source: kind.source,
  };
}
