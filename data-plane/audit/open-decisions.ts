// Decisions that wait for their outcome, in memory that all threads share: what a thread that ended left is found here.

/** A decision by its row; `slot` is the thread that answers its request. */
export type OpenRow = { readonly row: number; readonly slot: number; readonly id: string; readonly seq: number };

/** The rows. The caller holds the spool's lock. */
export type OpenDecisions = {
  /** A row for a decision of this thread; -1 when there is none left, or the id does not fit. */
  add(id: string, seq: number): number;
  /** The same for a thread that has ended. */
  addFor(slot: number, id: string, seq: number): number;
  /** Makes a row of a thread that has ended one of this thread. */
  adopt(row: number): void;
  remove(row: number): void;
  /** All of them. */
  list(): readonly OpenRow[];
};

const ROWS = 65_536;
const ID_BYTES = 31;
const ROW_BYTES = ID_BYTES + 1;
/** Handed out once, and the first of those that are free again (plus one). */
const [USED, FREED, HEAD_WORDS] = [0, 1, 2];

/** Empty memory. */
export const openDecisionMemory = (): SharedArrayBuffer =>
  new SharedArrayBuffer(8 * ROWS + 4 * (HEAD_WORDS + ROWS) + ROW_BYTES * ROWS);

/** The rows in such memory, as one thread sees them. */
export function openDecisions(memory: SharedArrayBuffer, slot: number): OpenDecisions {
  const seqs = new Float64Array(memory, 0, ROWS);
  const words = new Int32Array(memory, 8 * ROWS, HEAD_WORDS + ROWS);
  const ids = Buffer.from(memory, 8 * ROWS + words.byteLength);
  // Of a row in use the slot plus one; of a free one less than zero: the next free one.
  const stateAt = (row: number): number => HEAD_WORDS + row;
  const take = (): number => {
    const freed = words[FREED] ?? 0;
    if (freed > 0) {
      words[FREED] = -(words[stateAt(freed - 1)] ?? 0);
      return freed - 1;
    }
    const used = words[USED] ?? 0;
    if (used >= ROWS) return -1;
    words[USED] = used + 1;
    return used;
  };
  const addFor = (owner: number, id: string, seq: number): number => {
    const row = Buffer.byteLength(id) > ID_BYTES ? -1 : take();
    if (row < 0) return -1;
    const at = row * ROW_BYTES;
    ids[at] = ids.write(id, at + 1, ID_BYTES);
    seqs[row] = seq;
    words[stateAt(row)] = owner + 1;
    return row;
  };
  return {
    add: (id, seq) => addFor(slot, id, seq),
    addFor,
    adopt(row) {
      words[stateAt(row)] = slot + 1;
    },
    remove(row) {
      words[stateAt(row)] = -(words[FREED] ?? 0);
      words[FREED] = row + 1;
    },
    list() {
      const rows: OpenRow[] = [];
      for (let row = 0; row < (words[USED] ?? 0); row += 1) {
        const owner = words[stateAt(row)] ?? 0;
        if (owner <= 0) continue;
        const at = row * ROW_BYTES;
        const id = ids.toString('utf8', at + 1, at + 1 + (ids[at] ?? 0));
        rows.push({ row, slot: owner - 1, id, seq: seqs[row] ?? 0 });
      }
      return rows;
    },
  };
}
