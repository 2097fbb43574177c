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

/** Follows one stream. Polls for its time, as `paced` does. */
export async function events({ url, token, seconds, gapMs }: Events): Promise<EventTimes> {
  streams.length = 0;
  const { hostname, port } = new URL(url);
  const sent: number[] = [];
  const latencies: number[] = [];
  let discarded = 0;
  let seen = 0;
  let text = '';
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.on('data', (bytes: Buffer) => {
    const now = performance.now();
    beat(now);
    text += bytes.toString('latin1');
    if (text.startsWith('HTTP/') && !text.startsWith('HTTP/1.1 200')) reject(new Error(text.slice(0, 200)));
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
    if (now > end + 500) {
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

const eventText = (count: number): string => `data: {"n": ${count}, "text": "a token of an answer"}\n\n`;
