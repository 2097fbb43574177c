// Keeps room in a pool's snapshot for what must always get in: revocations, cut-offs and keys.
import { DaypassError } from '@daypass/core/errors';
import { entryBytes, MAX_ENTRIES, MAX_ENTRY_BYTES } from '@daypass/core/snapshot';
import type { ServiceRow } from '../store/interface.ts';
import { type Size, serviceEntries } from './snapshot-content.ts';

/** What services may take of a snapshot. */
const SHARE = 3 / 4;

/**
 * Refuses a service that has grown where the services of its pool fill their share of the snapshot: else whoever may
 * edit scopes could keep everybody from revoking anything. `taken` is what all of them hold now, `old` what this one was;
 * undefined: it is new.
 * @throws {DaypassError} `failed_precondition`
 */
export const checkRoom = async (
  taken: () => Promise<Size>,
  old: ServiceRow | undefined,
  row: ServiceRow,
): Promise<void> => {
  const before = old === undefined ? NOTHING : sizeOf(old);
  const own = sizeOf(row);
  if (own.entries <= before.entries && own.bytes <= before.bytes) return;
  const all = await taken();
  const entries = all.entries - before.entries + own.entries;
  const bytes = all.bytes - before.bytes + own.bytes;
  if (entries <= SHARE * MAX_ENTRIES && bytes <= SHARE * MAX_ENTRY_BYTES) return;
  const message = `The services of the pool \`${row.config.pool}\` would fill its snapshot: ${entries} entries of at most ${SHARE * MAX_ENTRIES}, ${bytes} bytes of at most ${SHARE * MAX_ENTRY_BYTES}`;
  throw new DaypassError('failed_precondition', message);
};

const NOTHING: Size = { entries: 0, bytes: 0 };

const sizeOf = (row: ServiceRow): Size => {
  const entries = serviceEntries(row);
  return { entries: entries.length, bytes: entries.reduce((sum, entry) => sum + entryBytes(entry), 0) };
};
