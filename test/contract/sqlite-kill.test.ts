// A store's process killed with -9 in the middle of its transactions.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { openStore } from '../../control-plane/store/open.ts';
import { event, outcome } from './rows.ts';

const WRITER = fileURLToPath(new URL('./sqlite-writer.ts', import.meta.url));
const GROUP_WRITER = fileURLToPath(new URL('./sqlite-group-writer.ts', import.meta.url));

/** Lets a writer work until it has stored some steps, kills it, and returns the numbers that it said. */
const killAfter = async (program: string, url: string, steps: number): Promise<readonly number[]> => {
  const writer = spawn(process.execPath, [program, url], { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(writer, 'exit');
  let complaint = '';
  writer.stderr.on('data', (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  const said: number[] = [];
  for await (const line of createInterface({ input: writer.stdout })) {
    said.push(Number(line));
    if (said.length === steps) writer.kill('SIGKILL');
  }
  const [, signal] = await exited;
  expect({ signal, complaint }).toEqual({ signal: 'SIGKILL', complaint: '' });
  return said;
};

test('after kill -9 all that was acknowledged is there, and of the rest whole transactions or nothing', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'daypass-kill-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const url = `sqlite:${join(folder, 'daypass.db')}`;
  for (const steps of [1, 37, 120]) {
    const acknowledged = (await killAfter(WRITER, url, steps)).at(-1) ?? 0;
    const store = await openStore({ url });
    const stored = (await store.read.snapshots.latest('default'))?.version ?? 0;
    expect(stored).toBeGreaterThanOrEqual(acknowledged);
    expect((await store.read.audit.last('n'))?.seq).toBe(stored * 2);
    expect((await store.read.audit.hashes('n', 1, stored * 2 + 9)).size).toBe(stored * 2);
    expect(await store.read.tokens.list({}, { after: undefined, limit: 10_000 })).toHaveLength(stored);
    const events = await store.read.audit.query({}, { after: undefined, limit: 10_000 });
    expect(events).toHaveLength(stored);
    expect(events[0]).toMatchObject({ ...event(`d${stored}`, { seq: stored }), ...outcome(`d${stored}`) });
    await store.close();
  }
});

test('after kill -9 in the middle of grouped transactions no acknowledged one is lost, and none is there in part', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'daypass-kill-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const url = `sqlite:${join(folder, 'daypass.db')}`;
  const acknowledged: number[] = [];
  for (const steps of [1, 100, 333]) {
    acknowledged.push(...(await killAfter(GROUP_WRITER, url, steps)));
    const store = await openStore({ url });
    const all = { after: undefined, limit: 10_000 };
    const stored = (await store.read.tokens.list({}, all)).map(({ jti }) => jti).sort();
    expect(stored).toEqual(expect.arrayContaining(acknowledged.map((number) => `t${number}`)));
    expect(stored.filter((jti) => Number(jti.slice(1)) % 5 === 0)).toEqual([]);
    // Token, event and record are there together; the chain has no gap.
    const events = await store.read.audit.query({}, all);
    expect(events.map(({ decisionId }) => decisionId).sort()).toEqual(stored);
    expect(events.map(({ seq }) => seq).sort((a, b) => a - b)).toEqual(stored.map((_, index) => index + 1));
    expect((await store.read.audit.hashes('n', 1, 10_000)).size).toBe(stored.length);
    expect((await store.read.audit.last('n'))?.seq).toBe(stored.length);
    await store.close();
  }
});
