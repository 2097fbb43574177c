// Which names are equal but for case.

/** Equal for names that some reader takes for each other: case and compatibility forms are set aside. */
export const foldName = (name: string): string =>
  ASCII.test(name) ? name.toLowerCase() : name.normalize('NFKC').toUpperCase().toLowerCase();

/** Whether `name` may be taken for the name that folds to `folded`. Cheap for a long name, whatever it is made of. */
export const isSpellingOf = (name: string, folded: string): boolean =>
  name.length <= MAX_SHRINK * folded.length && foldName(name) === folded;

/**
 * About how many steps of work a fold takes. Compatibility forms make a character into 18, and the marks that follow one
 * letter are sorted in a time that grows with the square of their number.
 */
export const foldCost = (name: string): number =>
  ASCII.test(name) ? 1 + (name.length >> 5) : 24 * name.length + Math.ceil(name.length ** 2 / 64);

/** No fold is shorter by more: at most five characters become one, a letter that takes two and three marks on it. */
const MAX_SHRINK = 8;

const ASCII = /^[\u0000-\u007f]*$/;
