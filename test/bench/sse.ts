// `npm run bench:sse`: how much later than direct a server-sent event comes through each proxy, in alternating rounds.
import { parseArgs } from 'node:util';
import { ask } from './ask.ts';
import type { EventTimes } from './jobs/events.ts';
import { middle } from './measure.ts';
import { print } from './print.ts';
import { setScene, VARIANTS } from './scene.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    only: { type: 'string', default: VARIANTS.slice(0, 3).join(',') },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    'gap-ms': { type: 'string', default: '3' },
  },
});
/** As many events as a runtime wants before it has compiled what they need. */
const WARM_UP = { seconds: 6, gapMs: 0.3 };

const scene = await setScene(values.only.split(','));
const { direct, proxies, control } = scene;
const rounds = new Map<string, EventTimes[]>([direct, ...proxies].map(({ variant }) => [variant, []]));
try {
  for (const { url, token } of proxies) await ask(control, 'events', { url: `${url}/events/1`, token, ...WARM_UP });
  for (let round = 0; round < Number(values.rounds); round += 1)
    for (const { variant, url, token } of [direct, ...proxies]) {
      const asked = { url: `${url}/events/1`, token, seconds: Number(values.seconds), gapMs: Number(values['gap-ms']) };
      rounds.get(variant)?.push(await ask(control, 'events', asked));
    }
  const own = middle(rounds.get('direct') ?? []);
  print(
    [...rounds].map(([variant, all]) => {
      const { events, discarded, p50, p99 } = middle(all);
      return {
        variant,
        events,
        discarded,
        p50Micros: micros(p50),
        p99Micros: micros(p99),
        laterP50Micros: micros(p50 - own.p50),
        laterP99Micros: micros(p99 - own.p99),
      };
    }),
    values.json,
  );
} finally {
  await scene.end();
}

function micros(value: number): number {
  return Math.round(value * 1000);
}
