// Every migration by its name, in order. A new one is added below; a landed one is never changed.
import type { Migration } from 'kysely/migration';
import { first } from './0001-first.ts';
import { ceilings } from './0002-ceilings.ts';
import { operations } from './0003-operations.ts';
import { nodes } from './0005-nodes.ts';

export const migrations: Readonly<Record<string, Migration>> = {
  '0001-first': first,
  '0002-ceilings': ceilings,
  '0003-operations': operations,
  '0005-nodes': nodes,
};
