// A record as the line that the chain holds: the usual one put together at once, any other by the codec's own rules.
import { type AuditRecord, encodeRecord } from '@daypass/core/audit';
import type { DecisionInput, OutcomeInput } from './sink.ts';

/** Where a record stands in the chain of a node. */
export type Place = { readonly seq: number; readonly prev: string; readonly node: string };

/** The text of `encodeRecord`. Numbers that a record cannot hold become the nearest that it can. */
export const lineOf = (draft: DecisionInput | OutcomeInput, place: Place): string =>
  (draft.kind === 'decision' ? decisionLine(draft, place) : outcomeLine(draft, place)) ??
  encodeRecord(recordOf(draft, place));

/** Every member is kept as it is up to here, whichever it is. */
const SHORT = 128;

/** Characters that JSON and `printableJson` leave as they are. */
const PLAIN = /^[ !#-[\]-~]*$/;

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

function decisionLine(draft: DecisionInput, { seq, prev, node }: Place): string | undefined {
  const { id, time, result, reason, jti, caller, principal, client, service, method, path } = draft;
  const { rule, credential_id: credential, snapshot_version: version, count, source } = draft;
  const isShort =
    id.length <= SHORT &&
    node.length <= SHORT &&
    reason.length <= SHORT &&
    jti.length <= SHORT &&
    caller.length <= SHORT &&
    principal.length <= SHORT &&
    client.length <= SHORT &&
    service.length <= SHORT &&
    method.length <= SHORT &&
    path.length <= SHORT &&
    rule.length <= SHORT &&
    credential.length <= SHORT &&
    source.length <= SHORT;
  if (!isShort || !isCount(time) || !isCount(version) || !isCount(count) || count < 1) return undefined;
  const texts = id + node + reason + jti + caller + principal + client + service + method + path;
  if (!PLAIN.test(texts + rule + credential + source)) return undefined;
  return `{"kind":"decision","seq":${seq},"prev":"${prev}","id":"${id}","time":${time},"node":"${node}","result":"${result}","reason":"${reason}","jti":"${jti}","caller":"${caller}","principal":"${principal}","client":"${client}","service":"${service}","method":"${method}","path":"${path}","rule":"${rule}","credential_id":"${credential}","snapshot_version":${version},"count":${count},"source":"${source}"}`;
}

function outcomeLine(draft: OutcomeInput, { seq, prev, node }: Place): string | undefined {
  const { id, time, result, reason, status } = draft;
  const { request_bytes: requestBytes, response_bytes: responseBytes, latency_micros: micros } = draft;
  const isShort = id.length <= SHORT && node.length <= SHORT && reason.length <= SHORT;
  const isCounted =
    isCount(time) && isCount(status) && isCount(requestBytes) && isCount(responseBytes) && isCount(micros);
  if (!isShort || !isCounted || !PLAIN.test(id + node + reason)) return undefined;
  return `{"kind":"outcome","seq":${seq},"prev":"${prev}","id":"${id}","time":${time},"node":"${node}","result":"${result}","reason":"${reason}","status":${status},"request_bytes":${requestBytes},"response_bytes":${responseBytes},"latency_micros":${micros}}`;
}

function recordOf(draft: DecisionInput | OutcomeInput, place: Place): AuditRecord {
  if (draft.kind === 'outcome') {
    const { status, request_bytes, response_bytes, latency_micros } = draft;
    return {
      ...draft,
      ...place,
      time: whole(draft.time),
      status: whole(status),
      request_bytes: whole(request_bytes),
      response_bytes: whole(response_bytes),
      latency_micros: whole(latency_micros),
    };
  }
  const { time, count, snapshot_version } = draft;
  return {
    ...draft,
    ...place,
    time: whole(time),
    count: Math.max(1, whole(count)),
    snapshot_version: whole(snapshot_version),
  };
}

/** One bad number must not make the whole chain unacceptable to the control plane. */
const whole = (value: number): number =>
  Number.isFinite(value) ? Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.trunc(value))) : 0;
