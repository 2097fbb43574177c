// Each plane runs with the other's folder, and the fleet root, unreadable.
import { chmod, chown, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../check/sources.ts';
import { until } from '../kit/deadline.ts';
import { mint, register } from '../kit/operator.ts';
import { isReady, startFleet } from '../kit/planes.ts';
import { launch } from '../kit/process.ts';
import { json, startUpstream } from '../kit/upstream.ts';

const nobody = 65_534;
const asRoot = process.getuid?.() === 0;

test('the control plane works with root/ and data/ unreadable, and the data plane with root/ and control/', async () => {
  const upstream = await startUpstream((_seen, response) => json(response, 200, {}));
  const fleet = await startFleet({ start: [] });
  const planes = [];
  try {
    // As root no mode keeps a file from being read, so the planes run as users of their own.
    const users = { control: asRoot ? nobody : undefined, data: asRoot ? nobody - 1 : undefined };
    await chmod(fleet.home, 0o711);
    for (const folder of ['control', 'data'] as const) {
      if (users[folder] !== undefined) await own(join(fleet.home, folder), users[folder]);
    }
    if (!asRoot) await chmod(join(fleet.home, 'root'), 0o000);

    if (!asRoot) await chmod(join(fleet.home, 'data'), 0o000);
    const control = launch(process.execPath, [join(root, 'control-plane', 'main.ts')], {
      env: fleet.env,
      ...(users.control === undefined ? {} : { uid: users.control }),
    });
    planes.push(control);
    await control.line(/^\{"ready":true/);
    if (!asRoot) {
      await chmod(join(fleet.home, 'data'), 0o700);
      await chmod(join(fleet.home, 'control'), 0o000);
    }
    const data = launch(process.execPath, [join(root, 'data-plane', 'main.ts')], {
      env: fleet.env,
      ...(users.data === undefined ? {} : { uid: users.data }),
    });
    planes.push(data);
    await data.line(/^\{"ready":true/);
    await until('the data plane has a snapshot', () => isReady(fleet.adminUrl));
    await chmod(join(fleet.home, 'control'), 0o700);
    await chmod(join(fleet.home, 'root'), 0o700);

    await register(fleet, 'orders', upstream.origin, 'real-credential');
    const token = await mint(fleet, 'orders', ['GET /a']);
    const answer = await fetch(`${fleet.dataUrl}/s/orders/a`, { headers: { authorization: `Bearer ${token}` } });
    expect(answer.status).toBe(200);
    expect(upstream.seen.at(-1)?.headers.authorization).toBe('Bearer real-credential');
  } finally {
    for (const plane of planes) plane.kill('SIGTERM');
    await Promise.all(planes.map((plane) => plane.ended));
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

async function own(folder: string, uid: number): Promise<void> {
  await chown(folder, uid, uid);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    await chown(join(entry.parentPath, entry.name), uid, uid);
  }
}
