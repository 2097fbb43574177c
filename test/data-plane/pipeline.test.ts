// The pipeline by itself: what comes between its steps, at a moment that no client can be told to hit.
import { expect, test } from 'vitest';
import { Cancellation, ClientGone } from '../../data-plane/cancellation.ts';
import { DEFAULT_LIMITS } from '../../data-plane/limits.ts';
import { createPipeline, type PipelineDeps, type Visit } from '../../data-plane/pipeline.ts';
import type { Arrival } from '../../data-plane/transport/types.ts';
import { soon } from './recorder.ts';

/** An anonymous service, whose requests are decided when the test says so. */
function slowlyDecided() {
  const known = Promise.withResolvers<undefined>();
  const seen = { admitted: 0, released: 0, ended: 0, reads: 0, errors: [] as unknown[] };
  const config = { name: 'api', encoded_slashes: false, anonymous: true };
  const snapshot = { version: 1, expiresAt: 4e9, services: new Map(), defaultService: { config } };
  const deps = {
    limits: DEFAULT_LIMITS,
    current: () => snapshot,
    audit: { accepting: () => true, append: () => undefined, countRefusal: () => undefined },
    authenticator: { authenticate: () => known.promise },
    authorizer: { authorize: () => ({ rule: '', credentialId: '', body: undefined }) },
    limiter: {
      admit(grant: unknown) {
        seen.admitted += 1;
        return { grant };
      },
      release() {
        seen.released += 1;
      },
    },
    nowMs: Date.now,
    newId: () => 'id',
    refuse: (_visit: Visit, error: unknown) => seen.errors.push(error),
    onEnd() {
      seen.ended += 1;
    },
  } as unknown as PipelineDeps;
  const cancellation = new Cancellation();
  const request = {
    ...{ method: 'POST', target: '/', major: 1, minor: 1, fields: ['Host', 'h', 'Content-Length', '4'] },
    ...{ remoteAddress: '127.0.0.1', isComplete: false, isRead: false },
    read() {
      seen.reads += 1;
    },
    release: () => undefined,
  };
  const arrival = { request, response: {}, connection: { read: undefined }, cancellation } as unknown as Arrival;
  createPipeline(deps)(arrival);
  return { seen, cancellation, decide: () => known.resolve(undefined) };
}

test('a client that leaves while its request is decided is not waited for: no body of it will come', async () => {
  const { seen, cancellation, decide } = slowlyDecided();
  const gone = new ClientGone();
  cancellation.cancel(gone);
  decide();
  await soon(() => seen.ended === 1);
  expect(seen).toEqual({ admitted: 1, released: 1, ended: 1, reads: 0, errors: [gone] });
});
