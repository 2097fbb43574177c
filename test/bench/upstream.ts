// The bench's upstream: answers every request with the same small JSON.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const body = JSON.stringify({ id: 7, state: 'open', title: 'x'.repeat(900) });
const head = { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) };

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  request.resume();
  response.writeHead(200, head).end(body);
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`{"ready":true,"port":${(server.address() as AddressInfo).port}}\n`);
});
process.once('SIGTERM', () => process.exit());
