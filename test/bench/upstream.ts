// The bench's upstream: answers every request with the same small JSON, over plain sockets, to leave the processor it
// shares with the load to the load. Bodies must come with a Content-Length.
import { type AddressInfo, createServer, type Socket } from 'node:net';

const body = JSON.stringify({ id: 7, state: 'open', title: 'x'.repeat(988) });
const answer = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
);

const server = createServer({ noDelay: true }, serve);
server.listen(0, '127.0.0.1', 4096, () => {
  process.stdout.write(`{"ready":true,"port":${(server.address() as AddressInfo).port}}\n`);
});
process.once('SIGTERM', () => process.exit());

function serve(socket: Socket): void {
  let text = '';
  socket.on('error', () => socket.destroy());
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1');
    for (let length = requestLength(text); length > 0 && length <= text.length; length = requestLength(text)) {
      text = text.slice(length);
      socket.write(answer);
    }
  });
}

/** Characters of the first request, its body included; 0 while its head is not whole. */
function requestLength(text: string): number {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return 0;
  if (!text.startsWith('POST')) return end + 4;
  const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(text.slice(0, end + 2))?.[1];
  if (length === undefined) throw new Error(`a body without a length: ${text.slice(0, end)}`);
  return end + 4 + Number(length);
}
