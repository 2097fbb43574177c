// `npm run bench:idle`: what kept connections without a request take of a proxy's memory, after one request on each.
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ask } from './ask.ts';
import { rssMiB } from './cpu.ts';
import { print, type Row } from './print.ts';
import { type BenchProxy, setScene, VARIANTS } from './scene.ts';
import { PATH } from './subject.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    only: { type: 'string', default: VARIANTS.slice(0, 3).join(',') },
    connections: { type: 'string', default: '10000' },
  },
});
/** Long enough for what the requests have left behind to be collected, short of every proxy's keep-alive. */
const SETTLE_MS = 3_000;
/** So many connections at first, so that code and pools are there before memory is looked at. */
const FIRST = 200;

const scene = await setScene(values.only.split(','));
try {
  const rows: Row[] = [];
  for (const proxy of scene.proxies) rows.push(await measure(proxy, Number(values.connections)));
  print(rows, values.json);
} finally {
  await scene.end();
}

async function measure(proxy: BenchProxy, connections: number): Promise<Row> {
  const idleMiB = await held(proxy, FIRST, () => settledMiB(proxy, true));
  const heldMiB = await held(proxy, connections, () => settledMiB(proxy, false));
  const aboveIdleMiB = round(heldMiB - idleMiB);
  const kibEach = round((aboveIdleMiB * 1024) / (connections - FIRST));
  return {
    variant: proxy.variant,
    connections,
    idleMiB: round(idleMiB),
    heldMiB: round(heldMiB),
    aboveIdleMiB,
    kibEach,
  };
}

/** Looks while so many are open; throws where some of them were closed meanwhile. */
async function held(proxy: BenchProxy, connections: number, look: () => Promise<number>): Promise<number> {
  const { url, token, variant } = proxy;
  await ask(scene.control, 'hold', { url: `${url}${PATH}`, token, connections });
  const found = await look();
  const { open } = await ask(scene.control, 'letGo', {});
  if (open !== connections) throw new Error(`${variant}: ${open} of ${connections} connections were still open`);
  return found;
}

async function settledMiB({ pid }: BenchProxy, isFirst: boolean): Promise<number> {
  await wait(isFirst ? SETTLE_MS / 3 : SETTLE_MS);
  return (await rssMiB(pid)) ?? Number.NaN;
}

function round(value: number): number {
  return Number(value.toFixed(1));
}
