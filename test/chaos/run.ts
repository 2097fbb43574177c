// `npm run chaos`: a fleet under load whose parts are killed at random. Ends with 1 at the first promise that is broken.
import { setTimeout as pause } from 'node:timers/promises';
import { inspect, parseArgs } from 'node:util';
import { json, startUpstream } from '../kit/upstream.ts';
import { lookAfter } from './aftermath.ts';
import { createChanges } from './changes.ts';
import { createControlClient } from './control-client.ts';
import { ENDS, startDisruptions } from './disruptions.ts';
import { startChaosFleet } from './fleet.ts';
import { createKnownVersions } from './ledger.ts';
import { createRandom } from './random.ts';
import { reportText } from './report.ts';
import { startTraffic, type Tokens } from './traffic.ts';
import { watchVersions } from './versions.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '300' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    lanes: { type: 'string', default: '3' },
    'pause-ms': { type: 'string', default: '12' },
  },
});
const [seconds = 0, seed = 0, lanes = 0, pauseMs = 0] = [
  values.seconds,
  values.seed,
  values.lanes,
  values['pause-ms'],
].map(Number);
if (![seconds, seed, lanes, pauseMs].every((one) => Number.isSafeInteger(one) && one > 0))
  throw new Error('--seconds, --seed, --lanes and --pause-ms take whole numbers');

const STEADY_SERVICES = 6;
const FIRST_TOKENS = 110;
const broke = new AbortController();
const found: { readonly why: string; readonly facts: unknown }[] = [];
const broken = (why: string, facts?: unknown): void => {
  found.push({ why, facts });
  broke.abort();
};

const random = createRandom(seed);
const upstream = await startUpstream((seen, response) => {
  upstream.forget();
  json(response, 200, { target: seen.target });
});
const fleet = await startChaosFleet({ controls: 2, nodes: 3, broken });
const { nodes } = fleet;
note(
  `seed ${seed}; ${nodes.length} data planes, ${fleet.controls.length} control planes; their files are in ${fleet.folder}`,
);
const control = createControlClient(fleet.controlUrls, fleet.adminKey, random.fork());
const [tokens, known]: [Tokens, ReturnType<typeof createKnownVersions>] = [
  { live: [], ended: [] },
  createKnownVersions(),
];
const changes = createChanges({ control, tokens, known, broken, upstream: upstream.origin, random: random.fork() });
try {
  await changes.prepare(STEADY_SERVICES, FIRST_TOKENS);
  const traffic = startTraffic({ nodes, tokens, known, broken, lanes, pauseMs, random: random.fork() });
  const watch = watchVersions({ nodes, control, known, broken });
  const changing = changes.start();
  const disruptions = startDisruptions({
    control: [
      ...fleet.controls.map((one) => ({ members: [one], by: [...ENDS, 'SIGSTOP'] as const })),
      { members: fleet.controls, by: ENDS },
      { members: [fleet.database], by: ENDS },
      { members: [fleet.database, ...fleet.controls], by: ENDS },
    ],
    data: nodes.map(({ member }) => member),
    ...{ random: random.fork(), broken },
  });
  await pause(seconds * 1000, undefined, { signal: broke.signal }).catch(() => undefined);
  await disruptions.stop();
  await changing.stop();
  await traffic.stop();
  await watch.stop();
  const aftermath =
    found.length > 0
      ? undefined
      : await lookAfter({ control, nodes, changes, tokens, known, broken }, traffic.counts.decisions);
  const members = [fleet.database, ...fleet.controls, ...nodes.map(({ member }) => member)];
  if (aftermath === undefined || found.length > 0) {
    note(`seed ${seed}: ${found.length} promises broken, the first of them:\n${inspect(found[0], { depth: 6 })}`);
    note(`others: ${inspect(found.slice(1, 6).map(({ why }) => why))}`);
    note(`killed, in ms since the start: ${inspect(disruptions.done.slice(-20), { breakLength: 200 })}`);
    for (const member of members) note(`last words of ${member.name}:\n${member.lastWords()}`);
    process.exitCode = 1;
  } else {
    const { counts } = traffic;
    process.stdout.write(
      reportText({
        seconds,
        seed,
        counts,
        changes,
        members,
        aftermath,
        disruptions: disruptions.done,
        retried: control.retried,
        looks: watch.looks,
      }),
    );
  }
} finally {
  await fleet.stop();
  await upstream.close();
}
if (process.exitCode === undefined) await fleet.remove();

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
