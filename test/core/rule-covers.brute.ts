// `npm run torture:covers`: `covers` against the matcher on every pair of rules of every world.

import { agreementIn } from './rule-agreement.ts';
import {
  bodyWorld,
  callsWorld,
  headerWorld,
  mixedWorld,
  namesWorld,
  queryWorld,
  segmentsWorld,
} from './rule-universe.ts';

const quick = process.argv.includes('--quick');
const worlds = quick
  ? [segmentsWorld(2), namesWorld(3), queryWorld(6), headerWorld(5), bodyWorld(20), mixedWorld(200), callsWorld(5)]
  : [segmentsWorld(4), namesWorld(1), queryWorld(1), headerWorld(1), bodyWorld(1), mixedWorld(8), callsWorld(1)];

let pairs = 0;
let wrong = 0;
for (const world of worlds) {
  const started = performance.now();
  const found = agreementIn(world, quick ? 2_000 : 100_000);
  pairs += found.pairs;
  wrong += found.falseYes.length + found.falseNo.length;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `${found.world}: ${found.rules} rules, ${found.requests} requests, ${found.pairs} pairs, ${found.lists} pairs of lists, ` +
      `${found.yes} yes, ${found.falseYes.length} false yes, ` +
      `${world.isExact ? `${found.falseNo.length} false no` : 'false no not asked'} (${seconds} s)`,
  );
  for (const text of [...found.falseYes.slice(0, 5), ...found.falseNo.slice(0, 5)]) console.log(`  ${text}`);
}
console.log(`${pairs} pairs of rules, ${wrong} wrong answers`);
process.exitCode = wrong === 0 ? 0 : 1;
