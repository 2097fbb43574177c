// @fastify/http-proxy behind @fastify/jwt with its cache on. Argument: JSON of {upstream, publicKey, issuer, audience}.
// JavaScript, because the types of the proxy want those of a package that it does not bring.

import proxy from '@fastify/http-proxy';
import jwt from '@fastify/jwt';
import fastify from 'fastify';

const { upstream, publicKey, issuer, audience } = JSON.parse(process.argv[2]);
const app = fastify({ logger: false, keepAliveTimeout: 60_000 });
await app.register(jwt, {
  secret: { public: publicKey },
  verify: { algorithms: ['ES256'], allowedIss: issuer, allowedAud: audience, cache: 10_000 },
});
await app.register(proxy, {
  upstream,
  prefix: '/s/bench',
  http2: false,
  undici: { connections: 64, pipelining: 1 },
  preHandler: async (request) => {
    await request.jwtVerify();
  },
  replyOptions: {
    rewriteRequestHeaders: (_request, headers) => ({ ...headers, authorization: 'Bearer real-credential' }),
  },
});
await app.listen({ host: '127.0.0.1', port: 0 });
process.stdout.write(`{"ready":true,"port":${app.server.address().port}}\n`);
process.once('SIGTERM', () => process.exit());
