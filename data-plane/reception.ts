// Everything that is not a forwarded answer: refusals, failures, and connections that do not speak HTTP.
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { DaypassError, describe, type ErrorCode } from '@daypass/core/errors';
import type { AuditSink } from './audit/sink.ts';
import { ClientGone } from './cancellation.ts';
import type { Log } from './log.ts';
import type { Metrics, Series } from './metrics.ts';
import type { Visit } from './pipeline.ts';
import { problemOf, rawProblem, sendProblem } from './refusal.ts';
import type { Answer } from './transport/types.ts';
import { hasBody } from './wire.ts';

/** Answers what the pipeline does not. Nothing of it throws. */
export type Reception = {
  /** Answers a request that was not forwarded, or failed. */
  refuse(visit: Visit, error: unknown): void;
  /** Counts a request that has ended. */
  onEnd(visit: Visit): void;
  /** Answers a request that is not looked at. */
  refuseEarly(response: Answer, code: ErrorCode): void;
  /** Answers on a connection that no response is made for, and ends it. */
  refuseRaw(socket: Duplex, code: ErrorCode): void;
  /** What came on a connection is not HTTP, or did not come in time. */
  onWireError(error: Error, socket: Socket): void;
  /** Why a request ends whose connection stopped to be HTTP. */
  reasonOf(error: Error): Error;
};

type Deps = {
  readonly audit: AuditSink;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly newId: () => string;
};

/** Returns the reception. */
export function createReception({ audit, log, metrics, newId }: Deps): Reception {
  const requests = metrics.counter('daypass_requests_total', 'Requests by service and by how they ended', [
    'service',
    'result',
  ]);
  const seconds = metrics.histogram(
    'daypass_request_duration_seconds',
    'From the head of a request to the last byte of its answer',
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300],
  );
  const completed = new Map<string, Series>();
  const completedOf = (service: string): Series => {
    const known = completed.get(service);
    if (known !== undefined) return known;
    if (completed.size >= COMPLETED_MAX) completed.clear();
    const series = requests.series(service, 'completed');
    completed.set(service, series);
    return series;
  };
  const refuseRaw = (socket: Duplex, code: ErrorCode): void => {
    audit.countRefusal(code, remoteAddress(socket), '');
    requests.add(1, '', code);
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    const problem = problemOf(new DaypassError(code, describe(code).title), newId());
    const untaken = setTimeout(() => socket.destroy(), RAW_TIMEOUT_MS).unref();
    socket.once('close', () => clearTimeout(untaken));
    socket.end(rawProblem(problem), () => socket.destroy());
  };
  return {
    refuse(visit, error) {
      report(log, visit, error);
      // What was recorded as completed, or could not be recorded, ends here.
      if (visit.record.hasEnded) {
        visit.response.destroy();
        return;
      }
      const code = error instanceof ClientGone ? 'client_gone' : problemOf(error, visit.record.id).code;
      requests.add(1, serviceOf(visit), code);
      try {
        if (error instanceof ClientGone) visit.record.end({ result: 'failed', reason: 'client_gone', status: 0 });
        else answerRefused(visit, error);
      } catch (cause) {
        // What cannot be recorded is not answered.
        log.error('a request could not be recorded', { error: cause, decision_id: visit.record.id });
        visit.response.destroy();
      }
    },
    onEnd(visit) {
      seconds.observe(visit.record.micros / 1e6);
      if (visit.record.hasCompleted) completedOf(serviceOf(visit)).add(1);
    },
    refuseEarly(response, code) {
      sendProblem(response, problemOf(new DaypassError(code, describe(code).title), newId()), true);
    },
    refuseRaw,
    onWireError: (error, socket) => refuseRaw(socket, wireCode(error)),
    reasonOf: (error) =>
      GONE.has(codeOf(error)) ? new ClientGone() : new DaypassError(wireCode(error), describe(wireCode(error)).title),
  };
}

/** Services whose series is at hand. */
const COMPLETED_MAX = 512;

/** For a client to take the answer to what is not HTTP. */
const RAW_TIMEOUT_MS = 5_000;

/** Before it is recorded, nothing is said; after the head was sent, nothing can be. */
function answerRefused(visit: Visit, error: unknown): void {
  const { record, response, route, head, request, isDpop = false, proof } = visit;
  const problem = problemOf(error, record.id, { isDpop, nonce: proof?.nextNonce });
  const isAnswered = response.isBegun;
  try {
    record.refuse(problem.code, isAnswered ? response.status : problem.status, route?.service?.config.name ?? '');
  } catch (cause) {
    // The answer says that nothing can be recorded now; what there was to record is kept.
    if (problem.code !== 'audit_unavailable') throw cause;
  }
  if (isAnswered) {
    response.destroy();
    return;
  }
  // A body that was not read could be taken for the next request.
  const isUnread = head === undefined || (hasBody(head) && !request.isRead);
  sendProblem(response, problem, isUnread);
}

const serviceOf = ({ route }: Visit): string => route?.service?.config.name ?? '';

function report(log: Log, visit: Visit, error: unknown): void {
  if (error instanceof ClientGone) return;
  const fields = { error, decision_id: visit.record.id, service: serviceOf(visit) };
  if (!(error instanceof DaypassError)) log.error('a request failed unexpectedly', fields);
  // An outsider, who is counted, must not fill the log either.
  else if (describe(error.code).status >= 500)
    log[visit.record.isIdentified ? 'warn' : 'debug']('a request failed', fields);
}

const remoteAddress = (socket: Duplex): string => {
  const address: unknown = Reflect.get(socket, 'remoteAddress');
  return typeof address === 'string' ? address : '';
};

/** The client has closed its side, or all of it, in the middle of a request. */
const GONE = new Set(['HPE_INVALID_EOF_STATE', 'ECONNRESET', 'EPIPE']);

const codeOf = (error: Error): string => String(Reflect.get(error, 'code'));

function wireCode(error: Error): ErrorCode {
  const code = codeOf(error);
  if (code === 'HPE_HEADER_OVERFLOW') return 'headers_too_large';
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return 'request_timeout';
  if (code === 'HPE_CHUNK_EXTENSIONS_OVERFLOW') return 'body_too_large';
  return 'framing_invalid';
}
