// `npm run bench:fleet`: how fast changes and revocations reach all nodes of a fleet, and what snapshots of many services cost a node.
import { parseArgs } from 'node:util';
import { type Activated, measureActivation } from './fleet-activate.ts';
import { measureSpread, type Spread } from './fleet-spread.ts';
import { print, type Row } from './print.ts';
import { type Props, withProps } from './props.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    services: { type: 'string', default: '1000,10000,100000' },
    /** Nodes that changes and revocations reach; default 50, or 3 for 100,000 services. */
    nodes: { type: 'string' },
    'per-process': { type: 'string', default: '10' },
    /** For changes, and again for revocations. */
    seconds: { type: 'string', default: '10' },
    /** Full snapshots that each of three nodes is sent while it serves. */
    rounds: { type: 'string', default: '3' },
    /** Nodes that serve traffic meanwhile, and the time between two requests to one, in ms; 0: none. */
    serving: { type: 'string' },
    every: { type: 'string', default: '5' },
    only: { type: 'string', default: 'spread,activate' },
  },
});
const only = values.only.split(',');
const LARGE = 100_000;
/** So many hold full snapshots for their time and memory. */
const ACTIVATING = 3;

// What was started goes with this process, however it ends.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

for (const services of values.services.split(',').map(Number)) {
  const isLarge = services >= LARGE;
  const holding = { services, tokens: isLarge ? 1_000_000 : 0, revoked: isLarge ? 10_000 : 0 };
  const nodes = Number(values.nodes ?? (isLarge ? 3 : 50));
  const spread = only.includes('spread')
    ? await withProps(async (props) => {
        const serving = Math.min(nodes, Number(values.serving ?? 5));
        const perProcess = Number(values['per-process']);
        const asked = {
          ...holding,
          nodes,
          perProcess,
          seconds: Number(values.seconds),
          everyMs: Number(values.every),
          serving,
        };
        return measureSpread(asked, props).finally(() => endOf(props));
      })
    : undefined;
  const activated = only.includes('activate')
    ? await withProps((props) =>
        measureActivation({ ...holding, nodes: ACTIVATING, rounds: Number(values.rounds) }, props).finally(() =>
          endOf(props),
        ),
      )
    : undefined;
  print([rowOf(nodes, services, spread, activated)], values.json);
}

async function endOf({ started, end }: Props): Promise<void> {
  for (const one of started) {
    process.stderr.write(one.stderr());
    // Nothing of theirs is needed any more.
    one.kill('SIGKILL');
  }
  await end();
}

function rowOf(nodes: number, services: number, spread: Spread | undefined, activated: Activated | undefined): Row {
  const row = { nodes, services, ...spread, ...activated };
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Math.round(value * 10) / 10]));
}
