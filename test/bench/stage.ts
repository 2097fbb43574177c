// Starts what is measured, each process on its processor, and ends all of it.

import { spread } from './cpu.ts';
import { startDaypass } from './daypass.ts';
import { daypassRows } from './daypass-rows.ts';
import { farEnds } from './peer.ts';
import { peers } from './peers.ts';
import { withProps } from './props.ts';
import { PATH, type Subject, tokenFile } from './subject.ts';

/** Every variant, in the order of the table. */
export const variants: readonly string[] = [
  ...Object.keys(peers).slice(0, 3),
  ...Object.keys(daypassRows),
  ...Object.keys(peers).slice(3),
];

export type Stage = {
  /** The upstream, without a proxy. */
  readonly direct: Subject;
  /** Where to `ask`. */
  readonly control: number;
  readonly subjects: readonly Subject[];
  /** Asked for, but not installed here. */
  readonly missing: readonly string[];
  readonly pinned: boolean;
  end(): Promise<void>;
};

/** Starts the variants that are named. */
export const setStage = (wanted: readonly string[]): Promise<Stage> =>
  withProps(async ({ folder, started, fleets, end }) => {
    const listening = await farEnds(started);
    const upstream = `127.0.0.1:${listening.port}`;
    const subjects: Subject[] = [];
    const missing: string[] = [];
    for (const name of wanted) {
      const startPeer = peers[name];
      if (startPeer !== undefined) subjects.push(await startPeer({ upstream, folder, started }));
      else if (name in daypassRows) subjects.push(await startDaypass(name, { upstream, folder, fleets }));
      else missing.push(name);
    }
    const others = [process.pid, listening.pid, ...fleets.map((fleet) => fleet.control.pid())];
    const pinned = await spread(
      subjects.map(({ pid }) => pid),
      others,
    );
    const tokens = await tokenFile(folder, 'direct', ['unchecked']);
    const url = `http://${upstream}${PATH}`;
    const direct: Subject = {
      variant: 'direct',
      title: 'the upstream itself',
      url,
      pid: listening.pid,
      tokens: async () => tokens,
    };
    return { direct, control: listening.control, subjects, missing, pinned, end };
  });
