// Follows the audit: a stream that is taken up again where it broke, without showing an event twice.
import { create } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { type AuditEvent, type AuditFilter, AuditFilterSchema } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import type { Connection } from './connection.ts';
import { failureOf } from './failure.ts';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
const REMEMBERED = 10_000;

/**
 * Gives events until `signal` stops it. The first connection must succeed; later ones are tried until they do.
 * @throws what the first connection throws, and what no later attempt can mend
 */
export async function* followAudit(
  connection: Connection,
  filter: AuditFilter,
  signal: AbortSignal,
): AsyncGenerator<AuditEvent> {
  const seen = new Set<string>();
  let since = filter.since;
  let waitMs = FIRST_WAIT_MS;
  let connected = false;
  while (!signal.aborted) {
    try {
      const request = { filter: create(AuditFilterSchema, { ...filter, ...(since === undefined ? {} : { since }) }) };
      for await (const { event } of connection.audit.tail(request, { signal, timeoutMs: 0 })) {
        connected = true;
        waitMs = FIRST_WAIT_MS;
        // What comes while the stream is down is asked for from here on.
        since ??= timestampFromMs(connection.io.now());
        if (event === undefined || !isNew(seen, event)) continue;
        if (event.time !== undefined && timestampMs(event.time) > timestampMs(since)) since = event.time;
        yield event;
      }
    } catch (error) {
      if (signal.aborted) return;
      const failure = failureOf(error);
      if (!connected || failure.exitCode !== 3) throw error;
      connection.io.note(`${failure.message}; trying again in ${waitMs / 1000} s`);
    }
    await pause(waitMs, signal);
    waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
  }
}

/** An event is new when its decision, or its outcome, was not given before. */
const isNew = (seen: Set<string>, event: AuditEvent): boolean => {
  const key = `${event.decisionId} ${event.node} ${event.seq} ${event.outcome}`;
  if (seen.has(key)) return false;
  seen.add(key);
  const [oldest] = seen;
  if (seen.size > REMEMBERED && oldest !== undefined) seen.delete(oldest);
  return true;
};

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
