// What a pool's snapshot holds: everything that its nodes need, read from the store in one transaction.
import { deflateSync } from 'node:zlib';
import { encodeBase64url } from '@daypass/core/base64url';
import { type KeyEntry, LARGEST_TTL_SECONDS, STATUS_CHUNK_BITS } from '@daypass/core/service';
import { compareEntries, type Entry, encodeEntry } from '@daypass/core/snapshot';
import { setBit } from '@daypass/core/status';
import type { Aggregates, CutOffRow, ServiceRow } from '../store/interface.ts';
import { standingCutOffs } from './cut-off.ts';

/** Nodes forgive this much of a clock difference, and a little more. */
const SKEW_MS = 10_000;

type Deps = {
  readonly keys: readonly KeyEntry[];
  /** Milliseconds. */
  readonly now: () => number;
};

/** All entries of a pool, in their order. */
export const readContent = async (tx: Aggregates, pool: string, deps: Deps): Promise<readonly Entry[]> => {
  const services = await tx.services.ofPool(pool);
  const cutOffs = await tx.cutOffs.all(deps.now() - LARGEST_TTL_SECONDS * 1000 - SKEW_MS);
  const revoked = await tx.tokens.revoked(deps.now() - SKEW_MS);
  return [
    ...services.flatMap(serviceEntries),
    ...deps.keys.map((key) => encodeEntry('key', key.kid, key)),
    ...statusEntries(revoked),
    encodeEntry('pool', pool, { nodes: (await tx.nodes.ofPool(pool)).length }),
    ...cutOffEntries(cutOffs, new Set(services.map(({ name }) => name))),
  ].sort(compareEntries);
};

/** What a pool's snapshot holds of a service. */
export const serviceEntries = (row: ServiceRow): readonly Entry[] => {
  const entries = [encodeEntry('service', row.name, row.config)];
  if (row.sealedCredential !== undefined && row.credentialId !== undefined) {
    entries.push(encodeEntry('credential', row.name, { id: row.credentialId, sealed: row.sealedCredential }));
  }
  for (const [scope, rules] of Object.entries(row.scopes)) {
    entries.push(encodeEntry('scope', `${row.name}/${scope}`, { rules }));
  }
  return entries;
};

/** Only chunks with a revoked token are there: that one is absent is signed as well, and says "none of these". */
const statusEntries = (
  revoked: readonly { readonly statusChunk: number; readonly statusIndex: number }[],
): readonly Entry[] => {
  const lists = new Map<number, Uint8Array>();
  for (const { statusChunk, statusIndex } of revoked) {
    const bits = lists.get(statusChunk) ?? new Uint8Array(STATUS_CHUNK_BITS / 8);
    setBit(bits, statusIndex);
    lists.set(statusChunk, bits);
  }
  return [...lists].map(([chunk, bits]) =>
    encodeEntry('status', String(chunk), { bits: 1, lst: encodeBase64url(deflateSync(bits)) }),
  );
};

/** Those of other pools' services are left out. */
const cutOffEntries = (rows: readonly CutOffRow[], services: ReadonlySet<string>): readonly Entry[] =>
  standingCutOffs(rows)
    .filter(({ entry }) => entry.service === undefined || services.has(entry.service))
    .map((row) => encodeEntry('cutoff', row.id, row.entry));
