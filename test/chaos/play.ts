// One play of chaos: a fleet, traffic and changes on it, and its parts killed at random until the time is over or a promise is broken.
import { setTimeout as pause } from 'node:timers/promises';
import { json, startUpstream } from '../kit/upstream.ts';
import { type Aftermath, lookAfter } from './aftermath.ts';
import { type Changes, createChanges } from './changes.ts';
import { createControlClient } from './control-client.ts';
import { type Disruption, ENDS, startDisruptions, type Target } from './disruptions.ts';
import { type ChaosFleet, startChaosFleet } from './fleet.ts';
import { createKnownVersions, type ServiceFacts } from './ledger.ts';
import type { Member } from './member.ts';
import { createRandom } from './random.ts';
import { startTraffic, type Tokens, type TrafficCounts } from './traffic.ts';
import { type VersionWatch, watchVersions } from './versions.ts';

export type Play = {
  readonly seconds: number;
  readonly seed: number;
  /** Lanes of traffic for each node, and the pause of each between two requests. */
  readonly lanes: number;
  readonly pauseMs: number;
  /** Ends it before its time. */
  readonly signal: AbortSignal;
  readonly note: (text: string) => void;
};

/** A promise that was broken, and what is known of it. */
export type Broken = { readonly why: string; readonly facts: unknown };

export type Played = {
  readonly seconds: number;
  readonly seed: number;
  /** Each with its last words. */
  readonly members: readonly Member[];
  readonly disruptions: readonly Disruption[];
  readonly counts: TrafficCounts;
  readonly changes: Changes;
  readonly retried: ReadonlyMap<string, number>;
  readonly looks: VersionWatch['looks'];
  /** In the order in which they were found. */
  readonly broken: readonly Broken[];
  /** Undefined when a promise was broken before. */
  readonly aftermath: Aftermath | undefined;
};

/** The reason of a signal that ends a play soundly: what was done until then is looked at as if its time were over. */
export const ENOUGH = Symbol('enough');

const CONTROLS = 2;
const NODES = 3;
const STEADY_SERVICES = 6;
const FIRST_TOKENS = 110;
/** A service with a sealed credential, which nobody changes: every node has it before the first is killed. */
const SEALED_PATH = '/g0';
const SECRET = 'real-credential';
const SEALED: ServiceFacts = {
  name: 'sealed',
  created: { version: 0, acknowledged: [], missing: new Map() },
  asked: 0,
  acknowledged: [],
  isDeleteAsked: false,
};

/** Plays it. The files of the fleet stay on disk where a promise was broken. */
export async function play(options: Play): Promise<Played> {
  const found: Broken[] = [];
  const broke = new AbortController();
  const broken = (why: string, facts?: unknown): void => {
    found.push({ why, facts });
    broke.abort();
  };
  // What was seen is forgotten as soon as it is answered: there is no end to it.
  const upstream = await startUpstream((seen, response) => {
    upstream.forget();
    const wanted = seen.target.startsWith(SEALED_PATH) ? `Bearer ${SECRET}` : undefined;
    const isRight = seen.headers.authorization === wanted;
    json(response, isRight ? 200 : 500, { target: seen.target });
  });
  const fleet = await startChaosFleet({ controls: CONTROLS, nodes: NODES, broken });
  try {
    options.note(`seed ${options.seed}; the files of the fleet are in ${fleet.folder}`);
    const signal = AbortSignal.any([options.signal, broke.signal]);
    const played = await playOn(fleet, upstream.origin, { ...options, signal }, broken);
    return { ...played, broken: found };
  } finally {
    await fleet.stop();
    await upstream.close();
    if (found.length === 0) await fleet.remove();
  }
}

async function playOn(
  fleet: ChaosFleet,
  upstream: string,
  { seconds, seed, lanes, pauseMs, signal }: Play,
  broken: (why: string, facts?: unknown) => void,
): Promise<Omit<Played, 'broken'>> {
  const { nodes } = fleet;
  const random = createRandom(seed);
  const tokens: Tokens = { live: [], ended: [] };
  const known = createKnownVersions();
  const control = createControlClient(fleet.controlUrls, fleet.adminKey, random.fork());
  const changes = createChanges({ control, tokens, known, broken, upstream, random: random.fork() });
  await fleet.registerSealed(SEALED.name, `${upstream}${SEALED_PATH}`, SECRET);
  await changes.prepare(STEADY_SERVICES, FIRST_TOKENS, [SEALED]);

  const traffic = startTraffic({ nodes, tokens, known, broken, lanes, pauseMs, random: random.fork() });
  const watch = watchVersions({ nodes, control, known, broken });
  const changing = changes.start();
  const data = nodes.map(({ member }) => member);
  const disruptions = startDisruptions({ control: targetsOf(fleet), data, broken, random: random.fork() });
  const began = performance.now();
  await pause(seconds * 1000, undefined, { signal }).catch(() => undefined);
  const playedMs = performance.now() - began;
  for (const one of [disruptions, changing, traffic, watch]) await one.stop();

  const isSound = !signal.aborted || signal.reason === ENOUGH;
  return {
    ...{ seed, changes, counts: traffic.counts, looks: watch.looks },
    seconds: Math.round(playedMs / 1000),
    members: [fleet.database, ...fleet.controls, ...data],
    disruptions: disruptions.done,
    retried: control.retried,
    aftermath: isSound
      ? await lookAfter({ control, nodes, changes, tokens, known, broken }, traffic.counts.decisions)
      : undefined,
  };
}

/** One control plane, both, the database, or all of them. */
const targetsOf = ({ controls, database }: ChaosFleet): readonly Target[] => [
  ...controls.map((one) => ({ members: [one], by: [...ENDS, 'SIGSTOP'] as const })),
  { members: controls, by: ENDS },
  { members: [database], by: ENDS },
  { members: [database, ...controls], by: ENDS },
];
