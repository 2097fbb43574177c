// Tells the control plane what this node serves or refused: the newest word only, until it is heard.
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Client } from '@connectrpc/connect';
import type { ErrorCode } from '@daypass/core/errors';
import type { SnapshotService } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { createBackoff, pause } from '../backoff.ts';
import type { Log } from '../log.ts';

const CALL_TIMEOUT_MS = 5_000;
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 10_000;
const MESSAGE_MAX = 1024;

/** Why a snapshot was refused. `version` is 0 when it could not be told. */
export type Refusal = { readonly version: number; readonly code: ErrorCode; readonly message: string };

/** What the node says of itself. */
export type Standing = {
  readonly active: { readonly version: number; readonly digest: string; readonly expiresAt: number } | undefined;
  readonly refused: Refusal | undefined;
};

type Deps = {
  readonly client: Pick<Client<typeof SnapshotService>, 'report'>;
  readonly node: string;
  readonly software: string;
  readonly standing: () => Standing;
  readonly random: () => number;
  readonly log: Log;
};

export type Reporter = {
  /** There is something to say, or somebody new to say it to. */
  report(): void;
  stop(): Promise<void>;
};

/** One report under way at a time; what came meanwhile goes into the next. */
export function createReporter(deps: Deps): Reporter {
  const ended = new AbortController();
  const backoff = createBackoff(FIRST_RETRY_MS, LONGEST_RETRY_MS, deps.random);
  let due = false;
  /** Ends when there is more to say: that is tried at once, and whoever waits for it is not kept waiting. */
  let more = new AbortController();
  let running: Promise<void> | undefined;

  const run = async () => {
    while (due && !ended.signal.aborted) {
      due = false;
      more = new AbortController();
      try {
        await deps.client.report(requestOf(deps), { signal: ended.signal, timeoutMs: CALL_TIMEOUT_MS });
        backoff.reset();
      } catch (error) {
        due = true;
        deps.log.debug('a report did not reach the control plane', { error });
        await pause(backoff.next(), AbortSignal.any([ended.signal, more.signal]));
      }
    }
    running = undefined;
  };
  return {
    report() {
      due = true;
      more.abort();
      running ??= run();
    },
    async stop() {
      ended.abort();
      await running;
    },
  };
}

function requestOf({ node, software, standing }: Deps) {
  const { active, refused } = standing();
  return {
    node,
    software,
    version: BigInt(active?.version ?? 0),
    digest: active?.digest ?? '',
    ...(active === undefined ? {} : { leaseExpiresAt: timestampFromMs(active.expiresAt * 1000) }),
    refusedVersion: BigInt(refused?.version ?? 0),
    nackCode: refused?.code ?? '',
    nackMessage: (refused?.message ?? '').slice(0, MESSAGE_MAX),
  };
}
