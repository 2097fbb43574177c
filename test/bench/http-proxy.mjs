// http-proxy-3 with the credential put on and nothing checked. Argument: JSON of {upstream}.
import { Agent, createServer } from 'node:http';
import { createProxyServer } from 'http-proxy-3';

const { upstream } = JSON.parse(process.argv[2]);
const agent = new Agent({ keepAlive: true, maxSockets: 64 });
const proxy = createProxyServer({ target: upstream, agent, headers: { authorization: 'Bearer real-credential' } });
proxy.on('error', (_error, _request, response) => response.destroy());

const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
  request.url = request.url.slice('/s/bench'.length);
  proxy.web(request, response);
});
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`{"ready":true,"port":${server.address().port}}\n`);
});
process.once('SIGTERM', () => process.exit());
