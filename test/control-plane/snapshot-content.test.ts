// A snapshot's content that is made of the one before is, whatever was changed, the content that is read from nothing.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { merkleRoot, treeRoot } from '@daypass/core/snapshot';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sha256 } from '../../control-plane/domain/digest.ts';
import { type Content, createContents, NOTHING } from '../../control-plane/domain/snapshot-content.ts';
import { noteServices } from '../../control-plane/domain/written-services.ts';
import type { Aggregates, Store } from '../../control-plane/store/interface.ts';
import { openStore } from '../../control-plane/store/open.ts';
import { service, token } from '../contract/rows.ts';

const POOL = 'default';
const NOW = 1_800_000_000_000;
const NAMES = ['a', 'a-b', 'a0', 'b', 'b-b'];

let folder: string;
let store: Store;
let now: number;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-content-'));
  store = await openStore({ url: `sqlite:${join(folder, 'a.db')}` });
  now = NOW;
});
afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

type Step =
  | {
      readonly act: 'put';
      readonly name: string;
      readonly pool: string;
      readonly scopes: readonly string[];
      readonly sealed: boolean;
    }
  | { readonly act: 'delete'; readonly name: string }
  | { readonly act: 'revoke'; readonly index: number; readonly aliveMs: number }
  | { readonly act: 'cut-off'; readonly service: string | undefined; readonly agoMs: number }
  | { readonly act: 'pass'; readonly ms: number };

const name = fc.constantFrom(...NAMES);
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    act: fc.constant('put' as const),
    name,
    pool: fc.constantFrom(POOL, POOL, 'other'),
    scopes: fc.uniqueArray(fc.constantFrom('x', 'y', 'z'), { maxLength: 3 }),
    sealed: fc.boolean(),
  }),
  fc.record({ act: fc.constant('delete' as const), name }),
  fc.record({
    act: fc.constant('revoke' as const),
    index: fc.integer({ min: 0, max: 200_000 }),
    aliveMs: fc.integer({ min: 1000, max: 100_000 }),
  }),
  fc.record({
    act: fc.constant('cut-off' as const),
    service: fc.option(name, { nil: undefined }),
    agoMs: fc.integer({ min: 0, max: 400 * 86_400_000 }),
  }),
  fc.record({ act: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 60_000 }) }),
);

let ids = 0;
const run = async (tx: Aggregates, one: Step): Promise<void> => {
  ids += 1;
  switch (one.act) {
    case 'put': {
      const { scopes, sealed } = one;
      const row = service(one.name, {
        scopes: Object.fromEntries(scopes.map((scope) => [scope, [`GET /${scope}/${ids % 3}`]])),
        sealedCredential: sealed ? `sealed-${ids % 2}` : undefined,
        credentialId: sealed ? '0'.repeat(32) : undefined,
      });
      const pooled = { ...row, config: { ...row.config, pool: one.pool } };
      if ((await tx.services.get(one.name)) === undefined) return tx.services.insert(pooled);
      return tx.services.replace(pooled);
    }
    case 'delete':
      await tx.services.delete(one.name);
      return;
    case 'revoke': {
      const place = { statusChunk: Math.floor(one.index / 65_536), statusIndex: one.index % 65_536 };
      await tx.tokens.insert(token(`t${ids}`, { ...place, expiresAt: now + one.aliveMs }));
      await tx.tokens.revoke(`t${ids}`, now);
      return;
    }
    case 'cut-off': {
      const entry = { ...(one.service === undefined ? { client: 'c' } : { service: one.service }) };
      const minted = { minted_before: (now - one.agoMs) / 1000 };
      return tx.cutOffs.insert({ id: `c${ids}`, entry: { ...entry, ...minted }, createdAt: now });
    }
    case 'pass':
      now += one.ms;
      return;
    default:
      return one satisfies never;
  }
};

const contents = () => createContents({ now: () => now });
const seen = ({ tree, all, services }: Content) => ({
  root: treeRoot(tree, sha256),
  all,
  services,
  entries: tree.entries,
});

test('over random changes, some rolled back and some by another process', async () => {
  const turn = fc.record({
    steps: fc.array(step, { maxLength: 4 }),
    end: fc.constantFrom('commit', 'commit', 'commit', 'roll back', 'elsewhere'),
  });
  const other = await openStore({ url: `sqlite:${join(folder, 'a.db')}` });
  await fc.assert(
    fc.asyncProperty(fc.array(turn, { minLength: 1, maxLength: 10 }), async (turns) => {
      const kept = contents();
      let { content } = await store.transact((tx) => kept.read(tx, POOL, NOTHING));
      for (const { steps, end } of turns) {
        if (end === 'elsewhere') {
          await other.transact(async (tx) => {
            for (const one of steps) await run(tx, one);
          });
          content = (await store.transact((tx) => kept.read(tx, POOL, content))).content;
        } else {
          const work = store.transact(async (transaction) => {
            const { tx, written } = noteServices(transaction);
            for (const one of steps) await run(tx, one);
            const made = (await kept.change(tx, POOL, content, written)).content;
            if (end === 'roll back') throw new Error('stop');
            return made;
          });
          content = await work.catch(() => content);
        }
        const { content: after } = await store.transact((tx) => kept.change(tx, POOL, content, new Set()));
        const { content: fresh } = await store.transact((tx) => contents().read(tx, POOL, NOTHING));
        expect(seen(after)).toEqual(seen(fresh));
        expect(seen(fresh).root).toBe(merkleRoot(fresh.tree.entries, sha256));
      }
    }),
    { numRuns: 25 },
  );
  await other.close();
}, 60_000);
