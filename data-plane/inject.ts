// Injection: the request as the upstream will see it. The caller's own credentials end here, and the service's begins.

import { withPair } from '@daypass/core/query-keys';
import type { ActiveService } from './active-service.ts';
import type { Grant } from './authorize.ts';
import { forwardedQuery } from './forwarded.ts';
import type { Permit } from './limit.ts';
import { joinLines, type RequestLines, requestLines } from './transport/head-text.ts';
import { type Head, hasBody } from './wire.ts';

declare const injected: unique symbol;

/** The head of the request to the upstream. Only `injectCredential` makes one. */
export type Outgoing = {
  readonly method: string;
  /** The exact bytes of the target: the base path, the authorised path, the query. */
  readonly path: string;
  readonly lines: RequestLines;
  /** Bytes of the body, if it is known. */
  readonly contentLength: number | undefined;
  readonly [injected]: true;
};

/** Builds the head. Everything that stops here is taken out before anything of ours is put on. */
export function injectCredential({ grant }: Permit, head: Head): Outgoing {
  const { service, injection } = grant;
  const own = forwardedLines(service, head);
  return {
    method: head.method,
    path: outgoingPath(grant),
    lines: injection === undefined ? own : joinLines(own, injection.lines()),
    contentLength: grant.body?.byteLength ?? (hasBody(head) ? head.contentLength : undefined),
  } as unknown as Outgoing;
}

/** Those of the caller that go upstream, and those of the service; worked out once for fields that come again. */
function forwardedLines(service: ActiveService, { fields, hopNames, memo }: Head): RequestLines {
  if (memo.forwarded?.service === service) return memo.forwarded.lines;
  const kept: string[] = [];
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const name = fields[at] ?? '';
    if (service.dropsField(name)) continue;
    if (hopNames.has(name)) continue;
    kept.push(name, fields[at + 1] ?? '');
  }
  const lines = requestLines([...kept, ...service.addedFields]);
  memo.forwarded = { service, lines };
  return lines;
}

function outgoingPath({ service, route, injection }: Grant): string {
  const { target } = route;
  const { base_path } = service.config;
  const pair = injection?.pair();
  if (target.query === undefined && pair === undefined) return base_path + target.path;
  const kept = forwardedQuery(service, target.query);
  const query = pair === undefined ? kept : withPair(kept, pair);
  return query === undefined ? base_path + target.path : `${base_path}${target.path}?${query}`;
}
