// `npm run bench`: Daypass beside a bare node:http + undici pass-through and other proxies, the same upstream, load and run.
import { parseArgs } from 'node:util';
import { type Full, measureFull, measurePaced, middle, type Paced, warmUp } from './measure.ts';
import { type Measured, rowsOf, table } from './report.ts';
import { setStage, variants } from './stage.ts';
import type { Subject } from './subject.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    only: { type: 'string', default: variants.join(',') },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    'warm-up': { type: 'string', default: '8' },
    connections: { type: 'string', default: '64' },
    rates: { type: 'string', default: '1000,0' },
  },
});

/** Rates beyond the first are measured of these only. */
const COMPARED = ['direct', 'bare', 'daypass', 'haproxy-swap', 'nginx'];

const wanted = values.only.split(',');
const unknown = wanted.filter((name) => !variants.includes(name));
if (unknown.length > 0)
  throw new Error(`--only: no such variant: ${unknown.join(', ')}; there are ${variants.join(', ')}`);
const seconds = Number(values.seconds);
const connections = Number(values.connections);
const rates = values.rates === '' ? [] : values.rates.split(',').map(Number);

const stage = await setStage(wanted);
try {
  const { direct, control, subjects, missing, pinned } = stage;
  if (missing.length > 0) note(`not installed here, left out: ${missing.join(', ')}`);
  for (const subject of subjects) await warmUp(subject, { seconds: Number(values['warm-up']), connections });
  const full = new Map<Subject, Full[]>();
  const paced = new Map<string, Paced[]>();
  for (let round = 0; round < Number(values.rounds); round += 1) {
    note(`round ${round + 1} of ${values.rounds}`);
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed())
      add(full, subject, await measureFull(subject, { seconds, connections }));
    for (const [index, rate] of rates.entries())
      for (const subject of [direct, ...subjects]) {
        if (index > 0 && !COMPARED.includes(subject.variant)) continue;
        // What the load before has left to do would be done on the processor that takes the times.
        for (const one of subjects) await one.settled?.();
        add(paced, `${subject.variant} ${rate}`, await measurePaced(control, subject, { seconds, connections }, rate));
      }
  }
  const measured = (subject: Subject): Measured => {
    const rounds = full.get(subject);
    const byRate = rates.map((rate) => paced.get(`${subject.variant} ${rate}`)).filter((one) => one !== undefined);
    return { subject, full: rounds === undefined ? undefined : middle(rounds), paced: byRate.map(middle) };
  };
  const own = measured(direct);
  const all = subjects.map(measured);
  if (values.json) for (const row of rowsOf(own, all)) process.stdout.write(`${JSON.stringify(row)}\n`);
  else {
    const settings = {
      seconds,
      rounds: Number(values.rounds),
      warmUp: Number(values['warm-up']),
      connections,
      rates,
      pinned,
    };
    process.stdout.write(`${table(settings, own, all)}\n`);
  }
} finally {
  await stage.end();
}

function add<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const found = map.get(key);
  if (found === undefined) map.set(key, [value]);
  else found.push(value);
}

/** Progress goes to stderr: stdout is the result. */
function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
