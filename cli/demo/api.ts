// A tiny API in the manner of GitHub's: issues with pages, labels, and an echo. It asks for its credential on every call.
import { timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import type { Secret } from '@daypass/core/secret';
import { createIssues, type Issues } from './issues.ts';

const MAX_BODY_BYTES = 65_536;
const TIMEOUT_MS = 10_000;

type Answer = { readonly status: number; readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> };
type Call = {
  readonly method: string;
  readonly url: URL;
  readonly segments: readonly string[];
  readonly body: Buffer;
};

/** The demo API as a server that does not listen yet. */
export const createDemoApi = (credential: Secret): Server => {
  const issues = createIssues();
  const server = createServer({ requestTimeout: TIMEOUT_MS, headersTimeout: TIMEOUT_MS }, (request, response) => {
    answer(request, credential, issues)
      .catch((): Answer => ({ status: 400, body: { message: 'Problems parsing the request' } }))
      .then((result) => send(response, result))
      .catch(() => response.destroy());
  });
  server.maxConnections = 256;
  return server;
};

const answer = async (request: IncomingMessage, credential: Secret, issues: Issues): Promise<Answer> => {
  const url = new URL(request.url ?? '/', `http://${request.headers.host ?? 'demo'}`);
  if (url.pathname === '/healthz') return { status: 200, body: { ok: true } };
  if (!holds(request, credential)) return { status: 401, body: { message: 'Bad credentials' } };
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES)
    return { status: 413, body: { message: 'Too large' } };
  const body = await buffer(limited(request));
  const call = { method: request.method ?? 'GET', url, segments: url.pathname.slice(1).split('/'), body };
  return route(call, issues) ?? { status: 404, body: { message: 'Not Found' } };
};

const route = (call: Call, issues: Issues): Answer | undefined => {
  const { method, url, segments, body } = call;
  const [first, , , kind, number, labels, label] = segments;
  if (first === 'echo')
    return {
      status: 200,
      body: { method, path: url.pathname, query: url.search, bytes: body.length, credential_seen: true },
    };
  if (method === 'GET' && url.pathname === '/user') return { status: 200, body: { login: 'demo', type: 'User' } };
  if (first !== 'repos' || kind !== 'issues' || segments.length > 7) return undefined;
  if (segments.length === 4 && method === 'GET') return page(url, issues);
  const issue = issues.find(Number(number));
  if (issue === undefined) return undefined;
  if (segments.length === 5 && method === 'GET') return { status: 200, body: issue };
  if (labels !== 'labels') return undefined;
  if (segments.length === 6 && method === 'GET') return { status: 200, body: issue.labels };
  if (segments.length === 6 && method === 'POST') return addLabels(issues, issue.number, body);
  if (segments.length === 7 && method === 'DELETE')
    return { status: 200, body: issues.removeLabel(issue.number, decodeURIComponent(label ?? '')) };
  return undefined;
};

/** One page, and where the others are (RFC 8288), as absolute URLs of this API. */
const page = (url: URL, issues: Issues): Answer => {
  const perPage = bounded(url.searchParams.get('per_page'), 30, 100);
  const current = bounded(url.searchParams.get('page'), 1, 10_000);
  const last = Math.max(1, Math.ceil(issues.count / perPage));
  const link = (to: number, rel: string) => {
    const target = new URL(url);
    target.searchParams.set('page', String(to));
    return `<${target.href}>; rel="${rel}"`;
  };
  const links = [
    ...(current > 1 ? [link(current - 1, 'prev'), link(1, 'first')] : []),
    ...(current < last ? [link(current + 1, 'next'), link(last, 'last')] : []),
  ];
  const body = issues.slice((current - 1) * perPage, current * perPage);
  return { status: 200, body, headers: links.length === 0 ? {} : { link: links.join(', ') } };
};

const addLabels = (issues: Issues, number: number, body: Buffer): Answer => {
  const sent: unknown = JSON.parse(body.toString('utf8'));
  const names = Array.isArray(sent) ? sent : isLabels(sent) ? sent.labels : undefined;
  if (names === undefined || names.length > 20 || !names.every((name) => typeof name === 'string' && name.length <= 50))
    return { status: 422, body: { message: 'Validation Failed' } };
  return { status: 200, body: issues.addLabels(number, names) };
};

const isLabels = (value: unknown): value is { labels: unknown[] } =>
  typeof value === 'object' && value !== null && 'labels' in value && Array.isArray(value.labels);

const holds = (request: IncomingMessage, credential: Secret): boolean => {
  const expected = Buffer.from(`Bearer ${credential.reveal()}`);
  const given = Buffer.from(request.headers.authorization ?? '');
  return given.length === expected.length && timingSafeEqual(given, expected);
};

async function* limited(request: IncomingMessage): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new Error('too large');
    yield chunk;
  }
}

const bounded = (text: string | null, otherwise: number, most: number): number => {
  const value = /^[1-9]\d{0,5}$/.test(text ?? '') ? Number(text) : otherwise;
  return Math.min(value, most);
};

const send = (response: ServerResponse, { status, body, headers = {} }: Answer): void => {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers });
  response.end(body === undefined ? undefined : `${JSON.stringify(body)}\n`);
};
