// Hands node's HTTP requests, of either version, to the RPC handlers; and answers /healthz and /readyz.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { DescMethod } from '@bufbuild/protobuf';
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ConnectRouterOptions,
  createConnectRouter,
} from '@connectrpc/connect';
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from '@connectrpc/connect-node';
import { nameUnread } from './rpc/unread.ts';

type Request = IncomingMessage | Http2ServerRequest;
type Response = (ServerResponse | Http2ServerResponse) & Parameters<RequestListener>[1];

/** Answers a request; never throws. */
export type Handler = (request: Request, response: Response) => void;

type Options = ConnectRouterOptions & { readonly routes: (router: ConnectRouter) => void };

type Deps = {
  readonly options: Options;
  /** Hears of an answer that could not be given. */
  readonly log: (method: string, error: unknown) => void;
  /** Milliseconds within which a request's body has to arrive. */
  readonly bodyMsMax: number;
  /** Whether anyone may call this method, without a credential. */
  readonly isOpen: (method: DescMethod) => boolean;
  /** Throws when the control plane cannot serve. */
  readonly check: () => Promise<void>;
};

/** Calls of methods that are open to anyone, at a time: what an outsider can make the process hold. */
const OPEN_CALLS_MAX = 512;
/** The body of a call that was turned away is not waited for. */
const REFUSED_BODY_MS_MAX = 1000;

/** Makes the handler. */
export const createHandler = ({ options, log, bodyMsMax, isOpen, check }: Deps): Handler => {
  const router = createConnectRouter({ acceptCompression: [compressionGzip, compressionBrotli], ...options });
  options.routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const plainAnswer = createPlainAnswer(check);
  let openCalls = 0;
  return (request, response) => {
    const path = request.url?.split('?', 1)[0] ?? '';
    const handler = handlers.get(path);
    if (handler === undefined) {
      const asked = request.method === 'GET' || request.method === 'HEAD';
      void plainAnswer(path, asked).then(([status, text]) => plain(response, status, text));
      return;
    }
    if (isOpen(handler.method)) {
      if (openCalls >= OPEN_CALLS_MAX) {
        plain(response, 503, 'There are too many calls under way');
        limitBody(request, REFUSED_BODY_MS_MAX);
        return;
      }
      openCalls += 1;
      response.once('close', () => {
        openCalls -= 1;
      });
    }
    limitBody(request, bodyMsMax);
    const universal = tryUniversal(request, response);
    if (universal === undefined) {
      plain(response, 400, 'The Host header is missing or wrong');
      return;
    }
    handler(universal)
      .then(nameUnread)
      .then((answer) => universalResponseToNodeResponse(answer, response))
      .catch((error: unknown) => {
        // The client went away: nothing to say, and nobody to say it to.
        if (ConnectError.from(error).code === Code.Aborted) return;
        log(path, error);
      });
  };
};

/** The URL of a request is made of its authority, which may be anything: that is the client's fault, never a crash. */
const tryUniversal = (request: Request, response: Response) => {
  try {
    return universalRequestFromNodeRequest(request, response, undefined, undefined);
  } catch {
    return undefined;
  }
};

const limitBody = (request: Request, ms: number): void => {
  const timer = setTimeout(() => request.destroy(), ms);
  const done = (): void => clearTimeout(timer);
  request.once('end', done).once('close', done);
};

/** What is answered without an RPC. However many ask whether it is ready, the database is asked by one at a time. */
const createPlainAnswer = (check: () => Promise<void>) => {
  let look: Promise<boolean> | undefined;
  const isReady = (): Promise<boolean> => {
    look ??= check()
      .then(
        () => true,
        () => false,
      )
      .finally(() => {
        look = undefined;
      });
    return look;
  };
  return async (path: string, asked: boolean): Promise<readonly [status: number, text: string]> => {
    if (path !== '/healthz' && path !== '/readyz') return [404, 'There is nothing here'];
    if (!asked) return [405, 'Only GET and HEAD'];
    if (path === '/healthz') return [200, 'OK'];
    return (await isReady()) ? [200, 'OK'] : [503, 'The database does not answer'];
  };
};

const plain = (response: Response, status: number, text: string): void => {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' });
  response.end(text);
};
