// Finds the ids that somebody may have meant.

/** At most so many. */
const MAX_NEAR = 3;
/** How many letters may be wrong. */
const MAX_STEPS = 2;

/** Ids that differ from `id` in case, in separators, in what comes before the last one, or in a letter or two. */
export const nearIds = (id: string, ids: readonly string[]): readonly string[] => {
  const wanted = fold(id);
  const last = fold(lastPart(id));
  const ranked = ids.map((one) => ({ one, rank: rankOf(wanted, last, one) })).filter(({ rank }) => rank < UNLIKE);
  return ranked
    .sort((a, b) => a.rank - b.rank)
    .slice(0, MAX_NEAR)
    .map(({ one }) => one);
};

const UNLIKE = 9;

const rankOf = (wanted: string, last: string, id: string): number => {
  const folded = fold(id);
  const steps = distance(wanted, folded);
  if (steps <= MAX_STEPS && steps < wanted.length) return steps;
  return last !== '' && fold(lastPart(id)) === last ? MAX_STEPS + 1 : UNLIKE;
};

const fold = (id: string): string => id.toLowerCase().replace(/[^a-z0-9]/g, '');

const lastPart = (id: string): string => id.split(/[/.:]/).at(-1) ?? '';

/** Letters to change, add or drop; UNLIKE if that takes more than so many. */
const distance = (a: string, b: string, most = MAX_STEPS): number => {
  if (Math.abs(a.length - b.length) > most) return UNLIKE;
  let at = 0;
  while (at < a.length && a.charCodeAt(at) === b.charCodeAt(at)) at += 1;
  if (at === a.length) return b.length - at;
  if (most === 0) return UNLIKE;
  const [restA, restB] = [a.slice(at), b.slice(at)];
  const less = most - 1;
  const steps = Math.min(
    distance(restA.slice(1), restB.slice(1), less),
    distance(restA.slice(1), restB, less),
    distance(restA, restB.slice(1), less),
  );
  return Math.min(UNLIKE, steps + 1);
};
