// A worker thread: serves requests by the snapshots that the main thread gives it, and answers what it is asked.
import { setImmediate } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { DaypassError } from '@daypass/core/errors';
import { type ActiveSnapshot, activate } from '../active.ts';
import type { SpoolMemory } from '../audit/spool-memory.ts';
import { createSpoolSink } from '../audit/spool-sink.ts';
import { createSpoolWriter } from '../audit/writer.ts';
import { collectAfter } from '../collect.ts';
import { DEFAULT_LIMITS } from '../limits.ts';
import { listenFailure } from '../listener.ts';
import { isAtLeast, type Log, type LogLevel, plainFields } from '../log.ts';
import { createMetrics } from '../metrics.ts';
import { createNewId } from '../new-id.ts';
import type { NonceRule } from '../proof.ts';
import { createDataServer } from '../server.ts';
import { type LimitMemory, openSharedLimits } from '../shared/limits.ts';
import { createGivenKeys, type KeysById } from '../unseal-keys.ts';
import { createCurrentPolicy } from '../upstream-policy.ts';
import { type FromWorker, type Kind, plainFailure, type Questions, type ToWorker } from './asking.ts';

/** What a worker starts with. */
export type WorkerStart = {
  readonly slot: number;
  readonly node: string;
  readonly spoolFolder: string;
  readonly auditSpoolBytes: number;
  readonly strict: boolean;
  readonly maxInFlight: number;
  readonly serverTiming: boolean;
  readonly publicUrl: string | undefined;
  readonly dpopNonce: NonceRule;
  readonly controlUrls: readonly string[];
  readonly allowUpstreamRanges: readonly string[];
  readonly logLevel: LogLevel;
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  readonly unsealKeys: KeysById;
  readonly limitMemory: LimitMemory;
  readonly spoolMemory: SpoolMemory;
};

type Answers = {
  readonly [K in Kind]: (
    question: Questions[K]['question'],
  ) => Promise<Questions[K]['answer']> | Questions[K]['answer'];
};

if (parentPort !== null) run(workerData as WorkerStart, parentPort);

function run(start: WorkerStart, port: NonNullable<typeof parentPort>): void {
  const tell = (message: FromWorker): void => port.postMessage(message);
  const log = tellingLog(start.logLevel, tell);
  const worker = createWorker(start, log, tell);
  port.on('message', async (message: ToWorker) => {
    if ('note' in message) {
      worker.spoolChanged();
      return;
    }
    const { ask, id, question } = message;
    try {
      tell({ id, answer: await Reflect.apply(worker.answers[ask], undefined, [question]) });
    } catch (error) {
      log.debug('a worker could not do what it was asked', { error, ask });
      tell({ id, failure: plainFailure(error) });
    }
    if (ask === 'close') port.close();
  });
}

function createWorker(start: WorkerStart, log: Log, tell: (message: FromWorker) => void) {
  const now = Date.now;
  const newId = createNewId();
  const metrics = createMetrics();
  const { slot, strict, publicUrl, serverTiming, dpopNonce, tls, controlUrls } = start;
  const limits = { ...DEFAULT_LIMITS, maxInFlight: start.maxInFlight };
  const shared = openSharedLimits(start.limitMemory, slot, limits, now);
  const spool = createSpoolWriter({
    folder: start.spoolFolder,
    node: start.node,
    bytesMax: start.auditSpoolBytes,
    memory: start.spoolMemory,
    slot,
    strict,
    log,
    wake: () => tell({ note: 'appended' }),
  });
  let active: ActiveSnapshot | undefined;
  let prepared: ActiveSnapshot | undefined;
  /** Bytes of a whole snapshot that was prepared; 0: what changed. */
  let replacing = 0;
  let where: Questions['listen']['question'] | undefined;
  const audit = createSpoolSink({ spool, strict, now, newId, snapshotVersion: () => active?.version ?? 0 });
  const policy = createCurrentPolicy({
    allow: start.allowUpstreamRanges,
    listeners: () => (where === undefined ? [] : [where.at, where.admin]),
    controlUrls,
    log,
  });
  const current = () => active;
  const unsealKeys = createGivenKeys(start.unsealKeys, () => tell({ note: 'keyless' }), now);
  let server: ReturnType<typeof createDataServer> | undefined;
  const close = async () => {
    policy[Symbol.dispose]();
    await server?.close();
    audit[Symbol.dispose]();
    spool.flush();
    const drafts = spool.giveUp();
    if (drafts.length > 0) tell({ note: 'unwritten', drafts });
    spool.close();
    return metrics.families();
  };
  const answers: Answers = {
    async prepare(lead) {
      prepared = await activate(lead, active);
      replacing = 'base' in lead ? lead.base.bytes.length : 0;
      return undefined;
    },
    activate(digest) {
      // To go on with another one would be said to be this one: it could have what this one revokes.
      if (prepared?.digest !== digest) throw new DaypassError('internal', 'Another snapshot was prepared');
      active = prepared;
      prepared = undefined;
      collectAfter(replacing, slot);
      // Before it is acknowledged: what was on its way has ended, too.
      server?.review();
      return undefined;
    },
    async listen(question) {
      const { at, reusePort } = question;
      where = question;
      await policy.refresh();
      const own = { publicUrl, serverTiming, dpopNonce, unsealKeys, tls, reusePort };
      server = createDataServer({ ...own, limits, shared, current, audit, policy, now, newId, log, metrics });
      const { port } = await server.listen(at.host, at.port).catch((cause: unknown) => {
        throw listenFailure(cause, at);
      });
      where = { ...question, at: { host: at.host, port } };
      await policy.refresh();
      return where.at;
    },
    unseal(keys) {
      unsealKeys.give(keys);
      return undefined;
    },
    metrics: metrics.families,
    async leave(ms) {
      // What waits to be accepted is taken first: it goes with the listener.
      await setImmediate();
      const ended = server?.leave();
      const enough = AbortSignal.timeout(ms);
      await Promise.race([ended, new Promise((resolve) => enough.addEventListener('abort', resolve))]);
      return undefined;
    },
    async drain() {
      await setImmediate();
      await server?.drain();
      return undefined;
    },
    close,
  };
  const spoolChanged = (): void => {
    spool.flush();
    spool.tidy();
  };
  return { answers, spoolChanged };
}

/** A log that the main thread writes. */
function tellingLog(least: LogLevel, tell: (message: FromWorker) => void): Log {
  const at = (level: LogLevel): Log[LogLevel] =>
    isAtLeast(level, least)
      ? (message, fields = {}) => tell({ note: 'log', level, message, fields: plainFields(fields) })
      : () => undefined;
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
