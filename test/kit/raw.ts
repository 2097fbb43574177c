// A client that sends exactly the bytes it is given: what no HTTP library would send.
import { connect } from 'node:net';

/** Sends octets (latin1) on a new connection and returns all that came back until the peer closed it. */
export function exchange(url: string, octets: string, withinMs = 5000): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    let got = '';
    const socket = connect(Number(port), hostname, () => socket.write(octets, 'latin1'));
    socket.setTimeout(withinMs, () => socket.destroy(new Error('no answer')));
    socket.on('data', (bytes) => {
      got += bytes.toString('latin1');
    });
    socket.on('close', () => resolve(got));
    socket.on('error', reject);
  });
}

/** One request on a connection of its own. */
export function requestText(method: string, target: string, headers: readonly string[] = [], body = ''): string {
  return [`${method} ${target} HTTP/1.1`, 'Host: proxy', 'Connection: close', ...headers, '', body].join('\r\n');
}

/** The status of an answer, 0 when there is none. */
export const statusOf = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? '0');
