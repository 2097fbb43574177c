// Upstream stand-ins: a recorder of every request, with the answers of an API as its clients know them.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request as the upstream got it. */
export type Seen = {
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Name, value, name, value, … as they came. */
  readonly rawHeaders: readonly string[];
  readonly body: string;
};

/** What an upstream does with a request whose body has been read. */
export type Answer = (seen: Seen, response: ServerResponse, origin: string) => void | Promise<void>;

/** A running upstream. */
export type Upstream = {
  readonly origin: string;
  readonly port: number;
  readonly seen: readonly Seen[];
  forget(): void;
  close(): Promise<void>;
};

/** Starts an upstream on a free port of 127.0.0.1. */
export async function startUpstream(answer: Answer): Promise<Upstream> {
  const seen: Seen[] = [];
  let origin = '';
  const server = createServer((request, response) => {
    void record(request)
      .then((one) => {
        seen.push(one);
        return answer(one, response, origin);
      })
      .catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  origin = `http://127.0.0.1:${port}`;
  return {
    origin,
    port,
    seen,
    forget: () => void seen.splice(0),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Answers with JSON. */
export function json(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = JSON.stringify(value);
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers });
  response.end(body);
}

/** GitHub's REST API, as far as issues go: three pages joined by `Link`, labels, and a delete that nobody should reach. */
export const github: Answer = (seen, response, origin) => {
  const url = new URL(seen.target, origin);
  if (seen.method === 'GET' && url.pathname === '/repos/acme/site/issues') {
    const page = Number(url.searchParams.get('page') ?? '1');
    const link = (to: number, rel: string) => `<${origin}${url.pathname}?per_page=2&page=${to}>; rel="${rel}"`;
    const links = page < 3 ? [link(page + 1, 'next'), link(3, 'last')] : [link(1, 'first'), link(2, 'prev')];
    const issues = [1, 2].map((n) => ({
      number: (page - 1) * 2 + n,
      title: `Issue ${(page - 1) * 2 + n}`,
      state: 'open',
    }));
    return json(response, 200, issues, { link: links.join(', '), 'x-ratelimit-remaining': '4999' });
  }
  if (seen.method === 'POST' && /^\/repos\/acme\/site\/issues\/\d+\/labels$/.test(url.pathname)) {
    const { labels } = JSON.parse(seen.body) as { labels: string[] };
    return json(
      response,
      200,
      labels.map((name) => ({ name })),
    );
  }
  return json(response, 404, { message: 'Not Found' });
};

/** OpenAI's chat completions. A streamed answer sends its first piece, waits for `release`, and sends the rest. */
export function openai(release: () => Promise<void>): Answer {
  return async (seen, response) => {
    if (seen.method !== 'POST' || seen.target !== '/v1/chat/completions') {
      return json(response, 404, { error: { message: 'no such route', type: 'invalid_request_error' } });
    }
    const { stream, model } = JSON.parse(seen.body) as { stream?: boolean; model: string };
    const base = { id: 'chatcmpl-1', created: 1_700_000_000, model };
    if (stream !== true) {
      const message = { role: 'assistant', content: 'Hello there', refusal: null };
      const choice = { index: 0, message, finish_reason: 'stop', logprobs: null };
      return json(response, 200, { ...base, object: 'chat.completion', choices: [choice] });
    }
    const piece = (delta: unknown, finish_reason: string | null) =>
      `data: ${JSON.stringify({ ...base, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
    response.write(piece({ role: 'assistant', content: 'Hello' }, null));
    await release();
    response.write(piece({ content: ' there' }, null));
    response.write(piece({}, 'stop'));
    response.end('data: [DONE]\n\n');
  };
}

/** Stripe's customers. */
export const stripe: Answer = (seen, response) => {
  if (seen.method === 'POST' && seen.target === '/v1/customers') {
    const form = new URLSearchParams(seen.body);
    return json(
      response,
      200,
      { id: 'cus_1', object: 'customer', email: form.get('email') },
      { 'request-id': 'req_1' },
    );
  }
  if (seen.method === 'GET' && seen.target === '/v1/customers/cus_1') {
    return json(
      response,
      200,
      { id: 'cus_1', object: 'customer', email: 'ada@example.com' },
      { 'request-id': 'req_2' },
    );
  }
  return json(response, 404, { error: { type: 'invalid_request_error', message: 'No such route' } });
};

async function record(request: IncomingMessage): Promise<Seen> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return {
    method: request.method ?? '',
    target: request.url ?? '',
    headers: request.headers,
    rawHeaders: request.rawHeaders,
    body: Buffer.concat(pieces).toString('utf8'),
  };
}
