// Keeps room in a pool's snapshot for what must always get in: revocations, cut-offs and keys.
import { DaypassError } from '@daypass/core/errors';
import { MAX_ENTRIES, MAX_ENTRY_BYTES } from '@daypass/core/snapshot';
import type { Aggregates, ServiceRow } from '../store/interface.ts';
import { serviceEntries } from './snapshot-content.ts';

/** What services may take of a snapshot. */
const SHARE = 3 / 4;

/**
 * Refuses a service that has grown where the services of its pool fill their share of the snapshot: else whoever may
 * edit scopes could keep everybody from revoking anything. `old` is what it was; undefined: it is new.
 * @throws {DaypassError} `failed_precondition`
 */
export const checkRoom = async (
  tx: Pick<Aggregates, 'services'>,
  old: ServiceRow | undefined,
  row: ServiceRow,
): Promise<void> => {
  const before = old === undefined ? NOTHING : sizeOf(old);
  const own = sizeOf(row);
  if (own.entries <= before.entries && own.bytes <= before.bytes) return;
  let { entries, bytes } = own;
  for (const other of await tx.services.ofPool(row.config.pool)) {
    if (other.name === row.name) continue;
    const size = sizeOf(other);
    entries += size.entries;
    bytes += size.bytes;
  }
  if (entries <= SHARE * MAX_ENTRIES && bytes <= SHARE * MAX_ENTRY_BYTES) return;
  const message = `The services of the pool \`${row.config.pool}\` would fill its snapshot: ${entries} entries of at most ${SHARE * MAX_ENTRIES}, ${bytes} bytes of at most ${SHARE * MAX_ENTRY_BYTES}`;
  throw new DaypassError('failed_precondition', message);
};

type Size = { readonly entries: number; readonly bytes: number };

const NOTHING: Size = { entries: 0, bytes: 0 };

const sizeOf = (row: ServiceRow): Size => {
  const entries = serviceEntries(row);
  return {
    entries: entries.length,
    bytes: entries.reduce((sum, { kind, name, content }) => sum + kind.length + name.length + content.length, 0),
  };
};
