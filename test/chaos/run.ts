// `npm run chaos`: a fleet under load whose parts are killed at random. Ends with 1 when a promise was broken, and says which.
import { inspect, parseArgs } from 'node:util';
import { ENOUGH, type Played, play } from './play.ts';
import { reportText } from './report.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '300' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    lanes: { type: 'string', default: '3' },
    'pause-ms': { type: 'string', default: '12' },
  },
});
const count = (name: keyof typeof values): number => {
  const number = Number(values[name]);
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new Error(`--${name} takes a whole number`);
};
const stopping = new AbortController();
process.once('SIGINT', () => stopping.abort(ENOUGH));

const played = await play({
  ...{ seconds: count('seconds'), seed: count('seed'), lanes: count('lanes'), pauseMs: count('pause-ms') },
  ...{ signal: stopping.signal, note },
});
const { aftermath } = played;
if (aftermath === undefined || played.broken.length > 0) {
  tellOfBroken(played);
  process.exitCode = 1;
} else process.stdout.write(reportText({ ...played, aftermath }));

/** What was broken first, and what went before it: the same seed kills the same members in the same order. */
function tellOfBroken({ seed, broken, disruptions, members }: Played): void {
  note(`seed ${seed}: ${broken.length} promises broken, the first of them:\n${inspect(broken[0], { depth: 6 })}`);
  note(`others: ${inspect(broken.slice(1, 6).map(({ why }) => why))}`);
  note(`killed, in ms since the start: ${inspect(disruptions.slice(-20), { breakLength: 200 })}`);
  for (const member of members) note(`last words of ${member.name}:\n${member.lastWords()}`);
}

function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
