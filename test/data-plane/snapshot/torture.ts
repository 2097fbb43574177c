// Kills a node, again and again, at random moments while it activates; it must never be without a good snapshot.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { generateSealingKey, generateSigningKey } from '@daypass/core/key';
import { sha256, verifyStored } from '../../../data-plane/snapshot/standing.ts';
import { openSnapshotStore } from '../../../data-plane/snapshot/store.ts';
import { until } from '../../kit/deadline.ts';
import { launch } from '../../kit/process.ts';
import { createChain, serviceEntry } from './chain.ts';
import { createFleet, FLEET, type Fleet, nextNumber, POOL } from './fleet.ts';
import { startSource } from './source.ts';

/** What was seen at the disk after each kill. */
export type Torture = {
  readonly kills: number;
  /** The newest version that was acknowledged, and that of the good snapshot on disk. */
  readonly found: readonly { readonly acknowledged: number; readonly stored: number }[];
  /** Starts that took it from there. */
  readonly resumed: number;
};

const MAIN = join(import.meta.dirname, '../../../data-plane/main.ts');
/** Large enough that all is written anew every dozen changes. */
const LARGE_BYTES = 100_000;
/** A node that was just started, or one that has been activating for a while. */
const [EARLY_MS, LATE_MS] = [1_500, 250];

/** Kills so many times. Throws when what lies on disk is refused, or older than what was acknowledged. */
export async function torture(kills: number, random: () => number, say: (line: string) => void): Promise<Torture> {
  const home = mkdtempSync(join(tmpdir(), 'daypass-torture-'));
  const fleet = await createFleet();
  const chain = await createChain(fleet, [serviceEntry('a'), serviceEntry('large', {}, LARGE_BYTES)]);
  const source = await startSource(chain);
  await fillHome(home, fleet);
  const ended = new AbortController();
  const changing = (async () => {
    for (let count = 1; !ended.signal.aborted; count += 1) {
      await source.change([serviceEntry('large', {}, LARGE_BYTES + (count % 1_000))]);
      // Now and then only a whole snapshot leads on.
      if (count % 40 === 0) source.forget();
      await pause(5 * random());
    }
  })();
  const found: { acknowledged: number; stored: number }[] = [];
  let resumed = 0;
  try {
    for (let kill = 1; kill <= kills; kill += 1) {
      source.reports.length = 0;
      const node = launch(process.execPath, [MAIN], { env: settings(home, source.url) });
      if (kill % 4 === 0) await pause(EARLY_MS * random());
      else {
        await until('it activates', () => source.reports.some(({ version }) => version > 0n), 60_000);
        await pause(LATE_MS * random());
      }
      node.kill('SIGKILL');
      const { stderr } = await node.ended;
      resumed += Number(stderr.includes('snapshot taken from disk'));
      if (stderr.includes('refused')) throw new Error(`kill ${kill}: the node has refused a snapshot: ${stderr}`);
      const acknowledged = Number(source.reports.reduce((most, { version }) => (version > most ? version : most), 0n));
      const stored = await versionOnDisk(home, fleet);
      if (kill > 4 && stored === 0) throw new Error(`kill ${kill}: there is no snapshot on disk`);
      if (stored < acknowledged)
        throw new Error(`kill ${kill}: ${acknowledged} was acknowledged, ${stored} is on disk`);
      found.push({ acknowledged, stored });
      say(`kill ${kill} of ${kills}: version ${acknowledged} was acknowledged, ${stored} is good on disk`);
    }
    return { kills, found, resumed };
  } finally {
    ended.abort();
    await changing;
    source.close();
    rmSync(home, { recursive: true, force: true });
  }
}

/** Verified as a start would; 0: there is none yet. Throws the code of what refuses it. */
async function versionOnDisk(home: string, fleet: Fleet): Promise<number> {
  const store = await openSnapshotStore(join(home, 'data/snapshot'));
  const stored = await store.load();
  if (stored === undefined) return 0;
  const floor = store.floor()?.version ?? 0;
  const trust = { root: fleet.root, fleet: FLEET, pool: POOL, floor, now: Date.now() / 1000, sha256 };
  return (await verifyStored(stored, () => trust, nextNumber)).handover.version;
}

async function fillHome(home: string, fleet: Fleet): Promise<void> {
  const sealing = await generateSealingKey();
  mkdirSync(join(home, 'data/sealing'), { recursive: true });
  const files = {
    'fleet.json': { v: 1, fleet: FLEET, root: fleet.root },
    'node.json': { v: 1, name: 'node-1', pool: POOL },
    'node.jwk': (await generateSigningKey()).privateJwk,
    [`sealing/${sealing.kid}.jwk`]: sealing.privateJwk,
  };
  for (const [name, content] of Object.entries(files))
    writeFileSync(join(home, 'data', name), JSON.stringify(content), { mode: 0o600 });
}

const settings = (home: string, controlUrl: string): Record<string, string> => ({
  DAYPASS_HOME: home,
  DAYPASS_DATA_LISTEN: '127.0.0.1:0',
  DAYPASS_DATA_ADMIN_LISTEN: '127.0.0.1:0',
  DAYPASS_CONTROL_URL: controlUrl,
  DAYPASS_WORKERS: '1',
});

if (import.meta.main) {
  const kills = Number(process.argv[2] ?? 200);
  const { found, resumed } = await torture(kills, Math.random, (line) => process.stdout.write(`${line}\n`));
  const ahead = found.filter(({ acknowledged, stored }) => stored > acknowledged).length;
  process.stdout.write(
    `${kills} kills: a good snapshot on disk each time, never older than what was acknowledged; ${ahead} times newer; ${resumed} starts took it from there\n`,
  );
}
