// Each plane runs with the other's folder, and the fleet root, unreadable.
import { chmod, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../check/sources.ts';
import { until } from '../kit/deadline.ts';
import { mint, register } from '../kit/operator.ts';
import { isReady, startFleet } from '../kit/planes.ts';
import { launch, type Running, run } from '../kit/process.ts';
import { json, startUpstream } from '../kit/upstream.ts';

test('the control plane works with root/ and data/ unreadable, and the data plane with root/ and control/', async () => {
  const upstream = await startUpstream((_seen, response) => json(response, 200, {}));
  const fleet = await startFleet({ start: [] });
  const running: Running[] = [];
  const startPlane = async (plane: string) => {
    const started = launch(process.execPath, [join(root, plane, 'main.ts')], { env: fleet.env, powerless: true });
    running.push(started);
    await started.line(/^\{"ready":true/);
  };
  const setModes = (modes: Readonly<Record<string, number>>) =>
    Promise.all(Object.entries(modes).map(([folder, mode]) => chmod(join(fleet.home, folder), mode)));
  try {
    await setModes({ root: 0o000, data: 0o000 });
    await startPlane('control-plane');
    const locked = await run('ls', [join(fleet.home, 'data')], { powerless: true });
    expect(locked.code).not.toBe(0);

    await setModes({ data: 0o700, control: 0o000 });
    await startPlane('data-plane');
    await until('the data plane has a snapshot', () => isReady(fleet.adminUrl));

    await setModes({ root: 0o700, control: 0o700, data: 0o700 });
    await register(fleet, 'orders', upstream.origin, 'real-credential');
    const token = await mint(fleet, 'orders', ['GET /a']);
    const answer = await fetch(`${fleet.dataUrl}/s/orders/a`, { headers: { authorization: `Bearer ${token}` } });
    expect(answer.status).toBe(200);
    expect(upstream.seen.at(-1)?.headers.authorization).toBe('Bearer real-credential');
  } finally {
    await setModes({ root: 0o700, control: 0o700, data: 0o700 });
    for (const plane of running) plane.kill('SIGTERM');
    await Promise.all(running.map((plane) => plane.ended));
    await fleet.stop();
    await upstream.close();
  }
});

test('init makes folders that only their owner enters, and private files that only it reads', async () => {
  const fleet = await startFleet({ start: [] });
  try {
    for (const folder of ['root', 'control', 'data']) {
      expect([folder, (await stat(join(fleet.home, folder))).mode & 0o777]).toEqual([folder, 0o700]);
    }
    const entries = await readdir(fleet.home, { recursive: true, withFileTypes: true });
    const files = entries.filter(
      (entry) => entry.isFile() && /(?:\.jwk|\.key)$/.test(entry.name) && !entry.name.includes('.pub.'),
    );
    expect(files.length).toBeGreaterThanOrEqual(6);
    for (const file of files) {
      const path = join(file.parentPath, file.name);
      expect([path, (await stat(path)).mode & 0o777]).toEqual([path, 0o600]);
    }
  } finally {
    await fleet.stop();
  }
});
