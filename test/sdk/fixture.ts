// A control plane in memory behind a fetch, and a data plane over node:http whose answers a test decides.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type ConnectRouter, createConnectRouter } from '@connectrpc/connect';
import { createFetchHandler } from '@connectrpc/connect/protocol';
import type { DaypassError } from '@daypass/core/errors';
import { importEd25519 } from '@daypass/core/key';
import { signToken } from '@daypass/core/token';
import { type MintBatchRequest, type MintRequest, TokenService } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { problemOf } from '../../data-plane/refusal.ts';
import { claims, issuerKey, NOW } from '../core/fixture.ts';

export const CONTROL = 'http://control.test';

/** A fetch that answers the control plane's URLs from a router and sends everything else out. */
export function fetchTo(routes: (router: ConnectRouter) => void): typeof fetch {
  const router = createConnectRouter();
  routes(router);
  return async (input, init) => {
    const request = new Request(input, init);
    const { origin, pathname } = new URL(request.url);
    if (origin !== CONTROL) return await fetch(input, init);
    const handler = router.handlers.find(({ requestPath }) => requestPath === pathname);
    return handler === undefined ? new Response(null, { status: 404 }) : await createFetchHandler(handler)(request);
  };
}

const signer = { kid: issuerKey.kid, key: await importEd25519(issuerKey.privateJwk, 'sign') };

/** A real token; each has another id. */
export const tokenOf = (jti: string, lifeSeconds = 900): Promise<string> =>
  signToken({ ...claims, jti, exp: NOW + lifeSeconds }, signer);

/** A TokenService that mints real tokens with the ids t1, t2, … and keeps what it was asked. */
export function createMinter() {
  const asked: MintRequest[] = [];
  const batches: MintBatchRequest[] = [];
  const authorizations: string[] = [];
  let failure: Error | undefined;
  const routes = (router: ConnectRouter): void => {
    router.service(TokenService, {
      async mint(request, context) {
        authorizations.push(context.requestHeader.get('authorization') ?? '');
        if (failure !== undefined) throw failure;
        asked.push(request);
        return { token: await tokenOf(`t${asked.length}`), jti: `t${asked.length}` };
      },
      async mintBatch(request) {
        if (failure !== undefined) throw failure;
        batches.push(request);
        const tokens = request.tokens.map(async ({ client: jti, allow }) => {
          return { token: await tokenOf(jti), jti, allow, expireTime: timestampFromMs((NOW + 900) * 1000) };
        });
        return { tokens: await Promise.all(tokens) };
      },
    });
  };
  const fail = (error: Error | undefined): void => {
    failure = error;
  };
  return { asked, batches, authorizations, routes, fail };
}

export type Seen = {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
};
type Answer = (seen: Seen, response: ServerResponse, count: number) => void;

/** A data plane that keeps what it saw and answers as the test says. */
export async function createDataPlane(answer: Answer) {
  const seen: Seen[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { method = '', url = '', headers } = request;
    const one = { method, url, headers, body: Buffer.concat(chunks).toString() };
    seen.push(one);
    answer(one, response, seen.length);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = (): Promise<void> => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve()));
  };
  return { url: `http://127.0.0.1:${port}`, seen, [Symbol.asyncDispose]: close };
}

/** Refuses in the data plane's own words. */
export function refuse(response: ServerResponse, error: DaypassError): void {
  const { status, fields, body } = problemOf(error, 'decision-1');
  response.writeHead(status, [...fields]).end(body);
}

/** What the work throws; fails when it throws nothing. */
export async function thrownBy(work: () => unknown): Promise<unknown> {
  try {
    await work();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}
