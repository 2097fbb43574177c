// What Daypass is measured against: node:http in front of undici's dispatcher, which checks and records nothing.
// Arguments: the upstream's origin; for TLS, the files of a certificate and its key.
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';

const [origin = '', cert, key] = process.argv.slice(2);
const pool = new Pool(origin, { connections: 64, pipelining: 1 });

const server =
  cert === undefined || key === undefined
    ? createServer({ keepAliveTimeout: 60_000 }, pass)
    : createTlsServer({ keepAliveTimeout: 60_000, cert: readFileSync(cert), key: readFileSync(key) }, pass);
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`{"ready":true,"port":${(server.address() as AddressInfo).port}}\n`);
});
process.once('SIGTERM', () => process.exit());

function pass(request: IncomingMessage, response: ServerResponse): void {
  const headers: string[] = [];
  for (let index = 0; index + 1 < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index] ?? '';
    if (!/^(?:host|connection|authorization)$/i.test(name)) headers.push(name, request.rawHeaders[index + 1] ?? '');
  }
  headers.push('authorization', 'Bearer real-credential');
  const path = (request.url ?? '/').slice('/s/bench'.length);
  pool.dispatch(
    {
      path,
      method: request.method === 'POST' ? 'POST' : 'GET',
      headers,
      body: request.method === 'POST' ? request : null,
    },
    {
      onRequestStart: () => undefined,
      onResponseStart: (_controller, status, head) => void response.writeHead(status, head),
      onResponseData: (controller, chunk) => {
        if (response.write(chunk)) return;
        controller.pause();
        response.once('drain', () => controller.resume());
      },
      onResponseEnd: () => void response.end(),
      onResponseError: () => void response.destroy(),
    },
  );
}
