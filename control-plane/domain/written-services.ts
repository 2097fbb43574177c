// Notes which services a transaction writes, so that a snapshot is built from these and what it was before.
import type { Aggregates } from '../store/interface.ts';

/** Names of services that were, or may have been, written. */
export type WrittenServices = ReadonlySet<string>;

/** The aggregates of a transaction, and what was written through them so far. */
export const noteServices = (tx: Aggregates): { readonly tx: Aggregates; readonly written: WrittenServices } => {
  const written = new Set<string>();
  const { services } = tx;
  return {
    written,
    tx: {
      ...tx,
      services: {
        ...services,
        insert: (row) => services.insert(row).finally(() => written.add(row.name)),
        replace: (row) => services.replace(row).finally(() => written.add(row.name)),
        delete: (name) => services.delete(name).finally(() => written.add(name)),
      },
    },
  };
};
