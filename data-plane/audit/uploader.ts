// Sends the spool to the control plane: signed batches, at least once, nothing in memory beyond one of them.
import { type Client, Code, ConnectError } from '@connectrpc/connect';
import { batchStatement } from '@daypass/core/audit';
import { AUDIT_LABEL, type CryptoKey, signBytes } from '@daypass/core/key';
import type { AuditService } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { type Backoff, createBackoff, pause } from '../backoff.ts';
import type { Log } from '../log.ts';
import { hashOf, lastLine } from './segment.ts';
import type { Batch, Spool } from './spool.ts';

const LIMIT = { records: 2000, bytes: 1024 * 1024 };
/** Records of this time travel together. */
const GATHER_MS = 100;
const REJECTED_MS = 60_000;
const IDLE_MS = 60_000;
const CALL_TIMEOUT_MS = 10_000;
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 10_000;

/** Answers that will be the same the next time: somebody has to look at the spool or at the control plane. */
const REJECTIONS: readonly Code[] = [Code.InvalidArgument, Code.Aborted, Code.OutOfRange, Code.DataLoss];

type Deps = {
  readonly spool: Spool;
  readonly client: Pick<Client<typeof AuditService>, 'ingest'>;
  readonly node: string;
  /** The node's private Ed25519 key. */
  readonly key: CryptoKey;
  readonly log: Log;
  /** In [0, 1). */
  readonly random: () => number;
};

/** `connected`: the last batch was taken. `away`: it is tried again soon. `rejected`: it is kept, and tried once a minute. */
export type UploadState = 'connected' | 'away' | 'rejected';

export type Uploader = {
  start(): void;
  /** The control plane is back: tries at once. */
  wake(): void;
  /** Sends what is left, for `ms` at most. */
  drain(ms: number): Promise<void>;
  stop(): Promise<void>;
  state(): UploadState;
};

/** Uploads from the acknowledged position on. */
export function createUploader(deps: Deps): Uploader {
  const { spool, log } = deps;
  const backoff = createBackoff(FIRST_RETRY_MS, LONGEST_RETRY_MS, deps.random);
  const ended = new AbortController();
  let alarm = new AbortController();
  let state: UploadState = 'connected';
  let running: Promise<void> = Promise.resolve();
  let idle = false;
  let draining = false;

  const ring = () => alarm.abort();
  const wait = async (ms: number) => {
    alarm = new AbortController();
    await pause(ms, AbortSignal.any([alarm.signal, ended.signal]));
  };
  const changeTo = (next: UploadState, error: unknown) => {
    if (state !== next) report(log, next, error);
    state = next;
  };

  const round = async () => {
    const batch = await spool.read(LIMIT);
    if (batch === undefined) {
      idle = true;
      // A record may have come since the spool was read.
      if (isUploaded(spool) && !draining) await wait(IDLE_MS);
      idle = false;
      return await gather();
    }
    await spool.acknowledge(batch, await send(deps, batch, ended.signal));
    backoff.reset();
    changeTo('connected', undefined);
    if (batch.count < LIMIT.records / 2) await gather();
  };
  const gather = () => pause(draining ? GATHER_MS / 10 : GATHER_MS, ended.signal);
  const run = async () => {
    while (!ended.signal.aborted) {
      try {
        await round();
      } catch (error) {
        if (ended.signal.aborted) return;
        changeTo(isRejection(error) ? 'rejected' : 'away', error);
        await wait(waitAfter(state, backoff));
      }
    }
  };

  return {
    start() {
      spool.onAppend(() => {
        if (idle) ring();
      });
      running = run();
    },
    wake: ring,
    async drain(ms) {
      draining = true;
      const deadline = AbortSignal.any([AbortSignal.timeout(ms), ended.signal]);
      ring();
      while (!deadline.aborted && !isUploaded(spool)) await pause(20, deadline);
    },
    async stop() {
      ended.abort();
      await running;
    },
    state: () => state,
  };
}

async function send(
  { client, node, key }: Deps,
  { firstSeq, count, lines }: Batch,
  signal: AbortSignal,
): Promise<number> {
  const lastSeq = firstSeq + count - 1;
  const statement = batchStatement(node, firstSeq, lastSeq, hashOf(lastLine(lines)));
  const signature = await signBytes(key, AUDIT_LABEL, statement);
  const request = { node, firstSeq: BigInt(firstSeq), lines, signature };
  const { storedSeq } = await client.ingest(request, { signal, timeoutMs: CALL_TIMEOUT_MS });
  const stored = Math.min(Number(storedSeq), lastSeq);
  if (stored < firstSeq) throw new Error(`The control plane stored nothing of the records from ${firstSeq} on`);
  return stored;
}

function isUploaded(spool: Spool): boolean {
  const { acknowledgedSeq, lastSeq } = spool.usage();
  return acknowledgedSeq === lastSeq;
}

const isRejection = (error: unknown): boolean => error instanceof ConnectError && REJECTIONS.includes(error.code);

const waitAfter = (state: UploadState, backoff: Backoff): number =>
  state === 'rejected' ? REJECTED_MS : backoff.next();

const SAYING = {
  connected: ['info', 'the audit is uploaded again'],
  away: ['warn', 'the audit cannot be uploaded; it is kept on disk and tried again'],
  rejected: ['error', 'the control plane rejects audit records; they are kept on disk'],
} as const satisfies Record<UploadState, unknown>;

function report(log: Log, state: UploadState, error: unknown): void {
  const [level, message] = SAYING[state];
  log[level](message, error === undefined ? {} : { error });
}
