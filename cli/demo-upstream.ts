// The demo upstream as a process: makes its credential at first start, listens, and says so.
import { once } from 'node:events';
import { createDemoApi } from './demo/api.ts';
import { demoCredential } from './demo/credential.ts';
import { listenAddress } from './listen.ts';
import { homeOf, nonEmpty, processEnvironment } from './settings.ts';

const STOP_MS = 5000;

const main = async (): Promise<void> => {
  const env = processEnvironment();
  const server = createDemoApi(await demoCredential(homeOf({}, env)));
  const { host, port } = listenAddress(nonEmpty(env.DAYPASS_DEMO_LISTEN) ?? '127.0.0.1:8490', 'DAYPASS_DEMO_LISTEN');
  server.listen(port, host);
  await once(server, 'listening');
  const bound = server.address();
  const shown = typeof bound === 'object' && bound !== null ? bound.port : port;
  const ready = { ready: true, listen: `http://${host.includes(':') ? `[${host}]` : host}:${shown}` };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
  process.send?.(ready);
  const stop = () => {
    server.close(() => process.disconnect?.());
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), STOP_MS).unref();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop);
};

main().catch((error: unknown) => {
  const message = error instanceof Error ? error.message : 'internal error';
  process.stderr.write(
    `${JSON.stringify({ level: 'error', message: `the demo upstream cannot start: ${message}` })}\n`,
  );
  process.exitCode = 1;
  process.disconnect?.();
});
