// Server-sent events: how long each takes from the upstream's write to the client's read.
import { connect, type Socket } from 'node:net';
import { beat, stoodStillSince } from './beat.ts';
import { requestOf } from './lane.ts';

/** What to follow, for how long, and how far the events lie apart. */
export type Events = { readonly url: string; readonly token: string; readonly seconds: number; readonly gapMs: number };

/** Latencies in ms; `discarded`: this process stood still meanwhile. */
export type EventTimes = {
  readonly events: number;
  readonly discarded: number;
  readonly p50: number;
  readonly p99: number;
};

/** The upstream's end of the stream under way, if there is one. */
const streams: Socket[] = [];

/** Begins a stream, which the client's job writes to. */
export function beginEvents(socket: Socket): void {
  socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
  streams[0] = socket;
}

/** What has not come by then does not come. */
const LATE_MS = 10_000;

/** Follows one stream. Polls for its time, as `paced` does. */
export async function events({ url, token, seconds, gapMs }: Events): Promise<EventTimes> {
  streams.length = 0;
  const { hostname, port } = new URL(url);
  const sent: number[] = [];
  const latencies: number[] = [];
  let discarded = 0;
  let seen = 0;
  let text = '';
  const decode = unchunked();
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.on('data', (bytes: Buffer) => {
    const now = performance.now();
    beat(now);
    text += decode(bytes.toString('latin1'));
    for (let end = text.indexOf(eventText(seen)); end >= 0; end = text.indexOf(eventText(seen))) {
      text = text.slice(end + eventText(seen).length);
      const then = sent[seen] ?? now;
      if (stoodStillSince(then)) discarded += 1;
      else latencies.push(now - then);
      seen += 1;
    }
  });
  socket.on('error', reject);
  socket.on('close', () => reject(new Error('the stream was closed')));
  socket.write(requestOf(url, token));
  let due = performance.now() + 100;
  const end = due + seconds * 1000;
  const turn = (): void => {
    const now = performance.now();
    beat(now);
    if (now > end && (seen === sent.length || now > end + LATE_MS)) {
      resolve();
      return;
    }
    if (now >= due && now < end && streams.length > 0) {
      const event = eventText(sent.length);
      sent.push(performance.now());
      streams[0]?.write(`${event.length.toString(16)}\r\n${event}\r\n`, 'latin1');
      due += gapMs;
    }
    setImmediate(turn);
  };
  turn();
  await promise.finally(() => socket.destroy());
  streams[0]?.destroy();
  if (seen !== sent.length || seen === 0) throw new Error(`${seen} of ${sent.length} events came`);
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
  return { events: seen, discarded, p50: at(0.5), p99: at(0.99) };
}

/** Takes a chunked answer as it comes; returns what has come of its body. Events may be cut by chunks. */
function unchunked(): (text: string) => string {
  let rest = '';
  let left = -1;
  return (text) => {
    rest += text;
    let body = '';
    for (;;) {
      if (left > 0) {
        const part = rest.slice(0, left);
        body += part;
        left -= part.length;
        rest = rest.slice(part.length);
        if (left > 0) return body;
      }
      const [line, size] = (left < 0 ? HEAD : CHUNK).exec(rest) ?? [];
      if (line === undefined) return body;
      rest = rest.slice(line.length);
      left = size === undefined ? 0 : Number.parseInt(size, 16);
    }
  };
}

const HEAD = /^HTTP\/1\.1 200 [\s\S]*?\r\n(?=\r\n)/;
const CHUNK = /^\r\n([0-9a-fA-F]+)\r\n/;

const eventText = (count: number): string => `data: {"n": ${count}, "text": "a token of an answer"}\n\n`;
