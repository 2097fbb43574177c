// Which names are equal but for case.

/** Equal for names that some reader takes for each other: case and compatibility forms are set aside. */
export const foldName = (name: string): string =>
  ASCII.test(name) ? name.toLowerCase() : name.normalize('NFKC').toUpperCase().toLowerCase();

const ASCII = /^[\u0000-\u007f]*$/;
