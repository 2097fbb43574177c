// Gives each token its place in the status lists: a random index that no living token and no honoured snapshot uses.
import { DaypassError } from '@daypass/core/errors';
import { STATUS_CHUNK_BITS } from '@daypass/core/service';
import type { Aggregates } from '../store/interface.ts';

/** A place in the status lists. */
export type StatusPlace = { readonly chunk: number; readonly index: number };

/** The places of the status lists. */
export type StatusPlaces = {
  /** So many free places; call it inside the transaction that stores the tokens. Throws `overloaded` when all are in use. */
  take(tx: Aggregates, count: number): Promise<readonly StatusPlace[]>;
};

/** A chunk is at most half full, so that a random index is free at the second try on average. */
const CHUNK_TOKENS_MAX = STATUS_CHUNK_BITS / 2;
const CHUNKS_MAX = 256;
/** Of the room that was counted, what one control plane takes before it counts again: others fill the chunk meanwhile. */
const SHARES = 4;
/** To count a chunk takes milliseconds; a few more than half of it does no harm. */
const COUNTED_MIN = 1000;
const TRIES_MAX = 128;
/** Looked for beyond those that are wanted: one question then serves many tokens. */
const SPARE_MAX = 400;
const SPARE_MIN = 16;

type Deps = {
  /** Milliseconds. */
  readonly now: () => number;
  /** A whole number from 0, below the bound. */
  readonly random: (bound: number) => number;
  /**
   * How long a place rests after its token has ended: any snapshot that still shows that token as revoked must have
   * ended too, or a fresh token would be refused on its account.
   */
  readonly restMs: number;
};

/** Makes the places; one writer at a time. */
export const createStatusPlaces = (deps: Deps): StatusPlaces => {
  /** The chunk to take from, and how many are taken before it is counted again: others may take from it, too. */
  let open = { chunk: 0, room: 0 };
  /** Places that were free when they were asked for, and still are: nobody else has written since, and none was given away. */
  let spare: { readonly epoch: object | undefined; readonly places: StatusPlace[] } = { epoch: undefined, places: [] };
  /** How many were given away since they were looked for. */
  let given = 0;
  const restingSince = (): number => deps.now() - deps.restMs;

  const findRoom = async (tx: Aggregates): Promise<number> => {
    if (open.room > 0) return open.chunk;
    for (let chunk = 0; chunk < CHUNKS_MAX; chunk += 1) {
      const room = CHUNK_TOKENS_MAX - (await tx.tokens.aliveInChunk(chunk, restingSince()));
      if (room > 0) {
        open = { chunk, room: Math.max(Math.ceil(room / SHARES), Math.min(room, COUNTED_MIN)) };
        return chunk;
      }
    }
    throw new DaypassError('overloaded', 'There are too many living tokens');
  };

  const find = async (tx: Aggregates, count: number): Promise<StatusPlace[]> => {
    const places: StatusPlace[] = [];
    while (places.length < count) {
      const chunk = await findRoom(tx);
      const wanted = Math.min(count - places.length, open.room);
      // The store does not know of these yet, nor what they leave of the chunk: it may be the one that is looked at again.
      const found = new Set(places.flatMap((place) => (place.chunk === chunk ? [place.index] : [])));
      const free = await findFree(tx, { chunk, wanted, found, random: deps.random, since: restingSince() });
      open = { chunk, room: open.room - wanted };
      places.push(...free.map((index) => ({ chunk, index })));
    }
    return places;
  };

  return {
    take: async (tx, count) => {
      const { epoch } = tx;
      if (epoch === undefined) return find(tx, count);
      // What is left is not kept beside what is found: the same place could be found again.
      if (spare.epoch !== epoch || spare.places.length < count) {
        // Where others write in turn with this one, what is left over is of no use: about as many as last time will do.
        const more = spare.epoch === epoch ? SPARE_MAX : Math.min(Math.max(2 * given, SPARE_MIN), SPARE_MAX);
        spare = { epoch, places: await find(tx, count + more) };
        given = 0;
      }
      given += count;
      return spare.places.splice(0, count);
    },
  };
};

type Wanted = {
  readonly chunk: number;
  readonly wanted: number;
  /** Not to be found again. */
  readonly found: ReadonlySet<number>;
  readonly random: (bound: number) => number;
  readonly since: number;
};

const findFree = async (
  tx: Aggregates,
  { chunk, wanted, found, random, since }: Wanted,
): Promise<readonly number[]> => {
  const free = new Set<number>();
  for (let tries = 0; tries < TRIES_MAX && free.size < wanted; tries += 1) {
    const tried = new Set<number>();
    while (tried.size < wanted - free.size) tried.add(random(STATUS_CHUNK_BITS));
    for (const index of await tx.tokens.indicesTaken(chunk, [...tried], since)) tried.delete(index);
    for (const index of tried) if (!found.has(index)) free.add(index);
  }
  if (free.size === wanted) return [...free];
  throw new DaypassError('internal', 'No free status index was found');
};
