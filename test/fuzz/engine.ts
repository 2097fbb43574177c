// The loop of a fuzzer: makes inputs, runs them, keeps those that lead somewhere new, and watches the time.
import { DaypassError, type ErrorCode } from '@daypass/core/errors';
import { createRandom, mutateText, type Random, type Words } from './mutator.ts';

/** Something that reads untrusted input, and what must hold of it. */
export type Reader<T> = {
  readonly name: string;
  /** `bytes`: each character of an input stands for one byte. */
  readonly input: 'text' | 'bytes';
  readonly dictionary: readonly string[];
  readonly maxLength: number;
  /** Good inputs that are made by a key, and so stand in no file. */
  readonly seeds?: readonly string[];
  /** An input by the structure of the format; left out: changed texts alone. */
  readonly make?: (random: Random, text: string, words: Words) => string;
  /** The codes that it may refuse with. */
  readonly codes: readonly ErrorCode[];
  /** The reading itself, which alone is timed. */
  readonly read: (input: string) => T | Promise<T>;
  /** Throws when what was read breaks a promise; else one word a path through the reader. */
  readonly check: (input: string, value: T) => string;
  /** The same for a refusal of one of the codes. */
  readonly checkRefusal?: (input: string, error: DaypassError) => void;
  /** Other figures of the run, for its last line. */
  readonly note?: () => string;
};

/** A reader whose answers are checked. */
export type FuzzTarget = Omit<Reader<unknown>, 'codes' | 'read' | 'check' | 'checkRefusal'> & {
  readonly run: (input: string) => Execution | Promise<Execution>;
};

type Execution = { readonly outcome: string | Error; readonly ms: number };

/** An input that broke a promise. */
export type Find = { readonly input: string; readonly what: string };

/** What a run showed. */
export type Report = {
  readonly executions: number;
  /**
   * The slowest execution, in milliseconds: of the processor where it is one piece, on the clock where it waits for
   * ciphers. The least of several times for one input, so that only the input counts.
   */
  readonly worstMs: number;
  readonly finds: readonly Find[];
  /** How often executions ended in which way. */
  readonly outcomes: ReadonlyMap<string, number>;
};

/** How much to run. `seeds` come first, as they are. */
export type Plan = {
  readonly seeds: readonly string[];
  readonly runs: number;
  readonly seed: number;
  readonly maxMs: number;
};

const MAX_POOL = 2000;
const MAX_POOLED_LENGTH = 4096;
const MAX_FINDS = 20;
const MAX_OUTCOMES = 5000;

/** Puts the checks around a reader. */
export const targetOf = <T>(reader: Reader<T>): FuzzTarget => ({
  ...reader,
  run: (input) => {
    const answered = (value: T, ms: number): Execution => ({
      outcome: outcomeOf(() => reader.check(input, value)),
      ms,
    });
    const threw = (error: unknown, ms: number): Execution => ({
      outcome: outcomeOf(() => refusalOf(reader, input, error)),
      ms,
    });
    const started = performance.now();
    const held = processorMs();
    let reading: T | Promise<T>;
    try {
      reading = reader.read(input);
    } catch (error) {
      return threw(error, processorMs() - held);
    }
    if (!(reading instanceof Promise)) return answered(reading, processorMs() - held);
    const sinceStart = (): number => performance.now() - started;
    return reading.then(
      (value) => answered(value, sinceStart()),
      (error: unknown) => threw(error, sinceStart()),
    );
  },
});

/** What this thread has computed so far: how long it holds the event loop, without other programs' turns. */
const processorMs = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

const outcomeOf = (work: () => string): string | Error => {
  try {
    return work();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
};

const refusalOf = <T>(reader: Reader<T>, input: string, error: unknown): string => {
  if (!(error instanceof DaypassError)) throw error;
  const { code, column, message } = error;
  if (!reader.codes.includes(code)) throw new Error(`it was refused with ${code}: ${message}`, { cause: error });
  if (column !== undefined && !(column >= 1 && column <= input.length + 1))
    throw new Error(`column ${column} of ${input.length}`);
  reader.checkRefusal?.(input, error);
  // What is quoted would make every refusal one of its own.
  return `${code}: ${message.slice(0, 200).replaceAll(/"[^"]*"|[0-9]+/g, '')}`.slice(0, 80);
};

/** Runs `plan.runs` executions, or fewer when there are twenty finds. */
export const fuzz = async (target: FuzzTarget, { seeds, runs, seed, maxMs }: Plan): Promise<Report> => {
  const random = createRandom(seed);
  const pool = [...seeds];
  const words: Words = {
    dictionary: target.dictionary,
    pool,
    maxCode: target.input === 'bytes' ? 0xff : 0xffff,
    maxLength: target.maxLength,
  };
  const finds: Find[] = [];
  const outcomes = new Map<string, number>();
  let worstMs = 0;
  let executions = 0;
  while (executions < runs && finds.length < MAX_FINDS) {
    const input = seeds[executions] ?? invented(random, target, words);
    executions += 1;
    const running = target.run(input);
    const { outcome, ms } = running instanceof Promise ? await running : running;
    if (outcome instanceof Error) finds.push({ input, what: outcome.message });
    else {
      const known = outcomes.get(outcome);
      if (known !== undefined || outcomes.size < MAX_OUTCOMES) outcomes.set(outcome, (known ?? 0) + 1);
      if (known === undefined && pool.length < MAX_POOL && input.length <= MAX_POOLED_LENGTH) pool.push(input);
    }
    if (ms <= worstMs) continue;
    const least = Math.min(ms, await leastOf(target, input, 4));
    worstMs = Math.max(worstMs, least);
    if (least > maxMs) finds.push({ input, what: `it took ${least.toFixed(1)} ms` });
  }
  return { executions, worstMs, finds, outcomes };
};

const invented = (random: Random, target: FuzzTarget, words: Words): string => {
  const text = random.pick(words.pool);
  const isPlain = target.make === undefined || random.onceIn(4);
  return isPlain ? mutateText(random, text, words) : (target.make?.(random, text, words) ?? text);
};

// The first time may hold a collection of garbage, a compilation or another program's turn.
const leastOf = async (target: FuzzTarget, input: string, times: number): Promise<number> => {
  let least = Number.POSITIVE_INFINITY;
  for (let left = times; left > 0; left -= 1) least = Math.min(least, (await target.run(input)).ms);
  return least;
};
