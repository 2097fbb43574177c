// `npm run bench:bodies`: one large body up and one down, by turns through Daypass, a bare pass-through and HAProxy.
import { parseArgs } from 'node:util';
import { ask } from './ask.ts';
import { cpuMicros, peakMiB, resetPeak, rssMiB } from './cpu.ts';
import { print } from './print.ts';
import { type BenchProxy, setScene, VARIANTS } from './scene.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    only: { type: 'string', default: VARIANTS.join(',') },
    rounds: { type: 'string', default: '5' },
    megabytes: { type: 'string', default: '1000' },
  },
});
const bytes = Number(values.megabytes) * 1e6;
/** Enough for a runtime to compile what it runs. */
const WARM_UP = { bytes: 5e8, rounds: 2 };
const DIRECTIONS = ['up', 'down'] as const;

type Round = { readonly wall: number; readonly perCpu: number; readonly above: number };

const scene = await setScene(values.only.split(','));
try {
  const idle = new Map<BenchProxy, number>();
  const rounds = new Map<string, Round[]>();
  for (const proxy of scene.proxies) {
    idle.set(proxy, (await rssMiB(proxy.pid)) ?? Number.NaN);
    for (let round = 0; round < WARM_UP.rounds; round += 1)
      for (const direction of DIRECTIONS) await measure(proxy, direction, WARM_UP.bytes);
  }
  for (let round = 0; round < Number(values.rounds); round += 1)
    for (const direction of DIRECTIONS)
      for (const proxy of round % 2 === 0 ? scene.proxies : scene.proxies.toReversed()) {
        const key = `${proxy.variant} ${direction}`;
        const found = await measure(proxy, direction, bytes);
        rounds.set(key, [
          ...(rounds.get(key) ?? []),
          { ...found, above: found.peak - (idle.get(proxy) ?? Number.NaN) },
        ]);
      }
  print(
    scene.proxies.flatMap(({ variant }) => DIRECTIONS.map((direction) => rowOf(variant, direction, rounds))),
    values.json,
  );
} finally {
  await scene.end();
}

async function measure(proxy: BenchProxy, direction: 'up' | 'down', size: number) {
  await resetPeak(proxy.pid);
  const before = (await cpuMicros(proxy.pid)) ?? Number.NaN;
  const asked = { url: `${proxy.url}/bulk/`, token: proxy.token, direction, bytes: size };
  const { seconds } = await ask(scene.control, 'bulk', asked);
  const used = ((await cpuMicros(proxy.pid)) ?? Number.NaN) - before;
  // Bytes a microsecond are megabytes a second.
  return { wall: size / 1e6 / seconds, perCpu: size / used, peak: (await peakMiB(proxy.pid)) ?? Number.NaN };
}

/** Medians; ratios are those of the rate per second of the proxy's processor time; memory is the highest of all. */
function rowOf(variant: string, direction: string, rounds: ReadonlyMap<string, readonly Round[]>) {
  const rate = (name: string) => median(rounds.get(`${name} ${direction}`)?.map(({ perCpu }) => perCpu));
  const own = rounds.get(`${variant} ${direction}`) ?? [];
  const bare = rate(variant.endsWith('-tls') ? 'bare-tls' : 'bare');
  return {
    variant,
    direction,
    megabytesPerSecond: round(median(own.map(({ wall }) => wall))),
    megabytesPerCpuSecond: round(rate(variant)),
    ratioToPassthrough: round(rate(variant) / bare, 2),
    ratioToHaproxy: variant.endsWith('-tls') ? undefined : round(rate(variant) / rate('haproxy-swap'), 2),
    aboveIdleMiB: round(Math.max(...own.map(({ above }) => above)), 1),
  };
}

function median(all: readonly number[] = []): number {
  return all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? Number.NaN;
}

function round(value: number, digits = 0): number {
  return Number(value.toFixed(digits));
}
