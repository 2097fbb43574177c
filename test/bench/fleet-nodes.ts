// Whole data planes in one process, for `fleet.ts`: `node fleet-nodes.ts CONTROL_URL WORKERS PORT FIRST HOME...`. Prints where they
// listen once all of them have a snapshot, and says at a port when they activate one, numbered from the first; each has its own workers, spool, snapshot folder and connections.
import { createSocket } from 'node:dgram';
import { setTimeout as pause } from 'node:timers/promises';
import { type DataPlane, startDataPlane } from '../../data-plane/app.ts';
import { parseConfig } from '../../data-plane/config.ts';
import { createLog } from '../../data-plane/log.ts';

const [controlUrl = '', workers = '1', port = '0', first = '0', ...homes] = process.argv.slice(2);
const socket = createSocket('udp4').unref();
const logOf = (node: number) =>
  createLog('info', (line) => {
    const { level, message, version } = JSON.parse(line) as { level: string; message: string; version?: number };
    const at = Number(process.hrtime.bigint() / 1000n) / 1000;
    if (message === 'snapshot activated') socket.send(JSON.stringify({ node, version, at }), Number(port), '127.0.0.1');
    else if (level === 'error') process.stderr.write(`${line}\n`);
  });
const planes: DataPlane[] = [];
for (const [index, home] of homes.entries()) {
  const config = parseConfig({
    DAYPASS_HOME: home,
    DAYPASS_DATA_LISTEN: '127.0.0.1:0',
    DAYPASS_DATA_ADMIN_LISTEN: '127.0.0.1:0',
    DAYPASS_CONTROL_URL: controlUrl,
    DAYPASS_ALLOW_UPSTREAM_RANGES: '127.0.0.1/32',
    DAYPASS_WORKERS: workers,
    DAYPASS_SERVER_TIMING: '1',
    DAYPASS_AUDIT_SPOOL_BYTES: '4GiB',
  });
  planes.push(await startDataPlane(config, logOf(Number(first) + index)));
}
for (const { admin } of planes) while (!(await fetch(`${admin}/readyz`)).ok) await pause(20);
process.stdout.write(
  `${JSON.stringify({ ready: true, ports: planes.map(({ listen }) => Number(new URL(listen).port)) })}\n`,
);
process.on('SIGTERM', () => Promise.all(planes.map((plane) => plane.close())).finally(() => process.exit()));
