// Whole data planes in one process, for `fleet.ts`: `node fleet-nodes.ts CONTROL_URL WORKERS HOME...`. Prints where they listen once
// all of them have a snapshot; each has its own workers, spool, snapshot folder and connections.
import { setTimeout as pause } from 'node:timers/promises';
import { type DataPlane, startDataPlane } from '../../data-plane/app.ts';
import { parseConfig } from '../../data-plane/config.ts';
import { createLog } from '../../data-plane/log.ts';

const [controlUrl = '', workers = '1', ...homes] = process.argv.slice(2);
const log = createLog('error', (line) => process.stderr.write(`${line}\n`));
const planes: DataPlane[] = [];
for (const home of homes) {
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
  planes.push(await startDataPlane(config, log));
}
for (const { admin } of planes) while (!(await fetch(`${admin}/readyz`)).ok) await pause(20);
process.stdout.write(
  `${JSON.stringify({ ready: true, ports: planes.map(({ listen }) => Number(new URL(listen).port)) })}\n`,
);
process.on('SIGTERM', () => Promise.all(planes.map((plane) => plane.close())).finally(() => process.exit()));
