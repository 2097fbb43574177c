// Questions and answers between the main thread and a worker.
import type { DaypassError, ErrorCode } from '@daypass/core/errors';
import { DaypassError as Failure, isErrorCode } from '@daypass/core/errors';
import type { Listen } from '@daypass/core/listen';
import type { Draft } from '../audit/sink.ts';
import type { LogFields, LogLevel } from '../log.ts';
import type { Family } from '../metrics.ts';
import type { Step, Whole } from '../snapshot/handover.ts';
import type { KeysById } from '../unseal-keys.ts';

/** What a worker is asked, and what it answers. */
export type Questions = {
  /** Computes what requests need of a snapshot, and keeps it aside. */
  readonly prepare: { readonly question: Whole | Step; readonly answer: undefined };
  /** Decides by the snapshot that was prepared last, which must be the one of the digest. */
  readonly activate: { readonly question: string; readonly answer: undefined };
  /** Listens; returns where. */
  readonly listen: { readonly question: ListenAt; readonly answer: Listen };
  /** Opens seals with these keys from now on. */
  readonly unseal: { readonly question: KeysById; readonly answer: undefined };
  readonly metrics: { readonly question: undefined; readonly answer: readonly Family[] };
  /** Takes no new connection, and answers when the last one has ended, or after the time (ms). */
  readonly leave: { readonly question: number; readonly answer: undefined };
  /** Ends idle connections, too, and refuses new requests. */
  readonly drain: { readonly question: undefined; readonly answer: undefined };
  /** Ends everything; the last metrics. The thread ends after it. */
  readonly close: { readonly question: undefined; readonly answer: readonly Family[] };
};

export type ListenAt = {
  readonly at: Listen;
  readonly reusePort: boolean;
  /** Never an upstream, like the listener itself. */
  readonly admin: Listen;
};

export type Kind = keyof Questions;

/** From the main thread. */
export type ToWorker =
  | { readonly ask: Kind; readonly id: number; readonly question: unknown }
  /** The spool was mended, or a file of it is gone. */
  | { readonly note: 'spool' };

/** From a worker. */
export type FromWorker =
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly failure: PlainFailure }
  | { readonly note: 'appended' }
  /** A seal came whose key is not there: it may lie in the folder by now. */
  | { readonly note: 'keyless' }
  /** Records that could not be written, from a worker that ends. */
  | { readonly note: 'unwritten'; readonly drafts: readonly Draft[] }
  | { readonly note: 'log'; readonly level: LogLevel; readonly message: string; readonly fields: LogFields };

/** An error as plain data: a cause could hold what cannot be handed over. */
export type PlainFailure = { readonly code: ErrorCode; readonly message: string };

/** An error as plain data; one that is not ours is `internal`, and is for the worker to log. */
export const plainFailure = (error: unknown): PlainFailure =>
  error instanceof Failure
    ? { code: error.code, message: error.message }
    : { code: 'internal', message: 'The worker could not do what it was asked' };

/** The error again. */
export const failureOf = ({ code, message }: PlainFailure): DaypassError =>
  new Failure(isErrorCode(code) ? code : 'internal', message);
