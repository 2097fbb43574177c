// `npm run bench:tail`: what the data plane does while its slowest requests wait, beside what it does in all of them.
// Its own profiler slows it down: shares are what to read here, times are in `npm run bench`.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { ask } from './ask.ts';
import { here } from './peer.ts';
import { print } from './print.ts';
import { setScene } from './scene.ts';
import { PATH, tokenFile } from './subject.ts';
import { type Profile, timesOf } from './tail-times.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rate: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '10' },
    'warm-up': { type: 'string', default: '8' },
    connections: { type: 'string', default: '64' },
  },
});
const folder = await mkdtemp(join(tmpdir(), 'daypass-tail-'));
const probe = pathToFileURL(join(here, 'tail-probe.ts')).href;
const scene = await setScene(['daypass'], { BENCH_TAIL: folder, NODE_OPTIONS: `--import=${probe}` });
try {
  const [proxy] = scene.proxies;
  if (proxy === undefined) throw new Error('nothing was started');
  const load = {
    url: `${proxy.url}${PATH}`,
    tokens: await tokenFile(folder, 'tail', [proxy.token]),
    body: undefined,
    connections: Number(values.connections),
    isTraced: true,
  };
  await ask(scene.control, 'paced', { ...load, rate: 0, seconds: Number(values['warm-up']) });
  await writeFile(join(folder, 'go'), '');
  await wait(500);
  const asked = { ...load, rate: Number(values.rate), seconds: Number(values.seconds) };
  const { trace = [], p50, p99 } = await ask(scene.control, 'paced', asked);
  await rm(join(folder, 'go'));
  await wait(2000);
  const files = (await readdir(folder)).filter((name) => name.endsWith('.json'));
  for (const file of files) {
    const { profile, collections } = JSON.parse(await readFile(join(folder, file), 'utf8')) as Profile;
    const longest = Math.max(0, ...collections.map(({ micros }) => micros));
    process.stderr.write(
      `${file}: p50 ${micros(p50 * 1000)} µs, p99 ${micros(p99 * 1000)} µs; ` +
        `${collections.length} collections, the longest ${micros(longest)} µs\n`,
    );
    print(timesOf(profile, trace), values.json);
  }
} finally {
  await scene.end();
  await rm(folder, { recursive: true, force: true });
}

function micros(value: number): number {
  return Math.round(value);
}
