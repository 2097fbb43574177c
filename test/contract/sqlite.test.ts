// The store's contract on SQLite, on real files in a folder that goes away.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { openStore } from '../../control-plane/store/open.ts';
import { storeContract } from './store.contract.ts';

let folder: string;
let files = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-store-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

storeContract('SQLite', async () => {
  files += 1;
  const url = `sqlite:${join(folder, `${files}.db`)}`;
  return { store: await openStore({ url }), again: () => openStore({ url }) };
});
