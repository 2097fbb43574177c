// Every migration by its name, in order. A new one is added below; a landed one is never changed.
import type { Migration } from 'kysely/migration';
import { first } from './0001-first.ts';
import { ceilings } from './0002-ceilings.ts';
import { operations } from './0003-operations.ts';
import { snapshotEntries } from './0004-snapshot-entries.ts';
import { nodes } from './0005-nodes.ts';
import { keys } from './0006-keys.ts';
import { canary } from './0007-canary.ts';

/** Migrations by their names. */
export type Migrations = Readonly<Record<string, Migration>>;

export const migrations: Migrations = {
  '0001-first': first,
  '0002-ceilings': ceilings,
  '0003-operations': operations,
  '0004-snapshot-entries': snapshotEntries,
  '0005-nodes': nodes,
  '0006-keys': keys,
  '0007-canary': canary,
};
