// The end of requests: all that complete in one turn of the loop are recorded in one write, then their last bytes leave.
import type { AuditSink, Draft } from './audit/sink.ts';

/** A request whose answer has come whole. None of its methods throws. */
export type Closable = {
  /** Adds its records; false if it has ended otherwise by now. */
  collect(drafts: Draft[]): boolean;
  /** It is recorded: its last bytes may leave. */
  recorded(): void;
  /** It could not be recorded. */
  unrecorded(error: unknown): void;
};

/** The requests that end in this turn; there are no more than run at one time. */
export type Closing = { add(one: Closable): void };

/** Returns none. */
export function createClosing(audit: Pick<AuditSink, 'append'>): Closing {
  let waiting: Closable[] = [];
  const close = (): void => {
    const drafts: Draft[] = [];
    const ready = waiting.filter((one) => one.collect(drafts));
    waiting = [];
    try {
      audit.append(drafts);
    } catch (error) {
      for (const one of ready) one.unrecorded(error);
      return;
    }
    for (const one of ready) one.recorded();
  };
  return {
    add(one) {
      if (waiting.push(one) === 1) setImmediate(close);
    },
  };
}
