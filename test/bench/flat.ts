// `npm run bench:flat`: CPU per request with a little and with a lot of services, tokens, rules and revocations.
import { parseArgs } from 'node:util';
import { type FlatFigures, flatRowsOf, flatTable } from './flat-report.ts';
import { dimensions } from './flat-rows.ts';
import { type FlatSubject, setFlatStage } from './flat-stage.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    only: { type: 'string', default: Object.keys(dimensions).join(',') },
    rounds: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '2' },
    'warm-up': { type: 'string', default: '8' },
    connections: { type: 'string', default: '64' },
  },
});

const wanted = values.only.split(',');
const unknown = wanted.filter((name) => dimensions[name] === undefined);
if (unknown.length > 0)
  throw new Error(`--only: no such dimension: ${unknown.join(', ')}; there are ${Object.keys(dimensions).join(', ')}`);
const connections = Number(values.connections);

for (const name of wanted) {
  const dimension = dimensions[name];
  if (dimension === undefined) continue;
  const stage = await setFlatStage(dimension);
  try {
    for (const subject of stage.subjects) await subject.touchAll({ seconds: Number(values['warm-up']), connections });
    const figures = await measureInTurn(stage.subjects);
    if (values.json) for (const row of flatRowsOf(name, figures)) process.stdout.write(`${JSON.stringify(row)}\n`);
    else process.stdout.write(`${flatTable(dimension.title, figures)}\n\n`);
  } finally {
    await stage.end();
  }
}

/** Every size in each round, forth and back by turns: what the machine does meanwhile meets all of them. */
async function measureInTurn(subjects: readonly FlatSubject[]): Promise<readonly FlatFigures[]> {
  const figures = subjects.map(({ size }) => ({
    size,
    cpuMicros: [] as number[],
    perSecond: [] as number[],
    rssMiB: 0,
  }));
  const all = [...subjects.entries()];
  for (let round = 0; round < Number(values.rounds); round += 1) {
    process.stderr.write(`round ${round + 1} of ${values.rounds}\n`);
    for (const [at, subject] of round % 2 === 0 ? all : all.toReversed()) {
      const one = await subject.measure({ seconds: Number(values.seconds), connections });
      const into = figures[at];
      if (into === undefined) continue;
      into.cpuMicros.push(one.cpuMicros);
      into.perSecond.push(one.perSecond);
      into.rssMiB = one.rssMiB;
    }
  }
  return figures;
}
