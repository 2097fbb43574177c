// The bench's far ends in one process: the upstream, over plain sockets, and on its second port the loads whose times or
// bytes are counted. One process for both has no switch between client and upstream in what is measured of a proxy.
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { bulk } from './jobs/bulk.ts';
import { events } from './jobs/events.ts';
import { hold, letGo } from './jobs/hold.ts';
import { paced } from './jobs/paced.ts';
import { serve } from './jobs/serve.ts';

const jobs = { paced, bulk, events, hold, letGo };

const upstream = createServer({ noDelay: true }, serve);
const control = createServer(obey);
upstream.listen(0, '127.0.0.1', 4096, () =>
  control.listen(0, '127.0.0.1', () => {
    process.stdout.write(`${JSON.stringify({ ready: true, port: portOf(upstream), control: portOf(control) })}\n`);
  }),
);
process.once('SIGTERM', () => process.exit());

const portOf = (server: ReturnType<typeof createServer>): number => (server.address() as AddressInfo).port;

/** A line of JSON in, with the job's name; a line of JSON out: its `result`, or why there is none. */
function obey(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  createInterface({ input: socket }).on('line', async (line) => {
    const { job, asked } = JSON.parse(line) as { job: keyof typeof jobs; asked: never };
    socket.end(`${JSON.stringify(await answered(jobs[job], asked))}\n`);
  });
}

async function answered(
  job: (asked: never) => unknown,
  asked: never,
): Promise<{ result: unknown } | { error: string }> {
  try {
    return { result: await job(asked) };
  } catch (error) {
    return { error: String(error) };
  }
}
