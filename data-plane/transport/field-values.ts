// Finds fields by their name in a list of names and values by turns.

/** The values of all fields of a lower-case name, which may stand there in any case. */
export function fieldValues(fields: readonly string[], name: string): readonly string[] {
  let values: string[] | undefined;
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const found = fields[at];
    // By length first: most names are others, and mostly there is none to find.
    if (found?.length !== name.length || found.toLowerCase() !== name) continue;
    values ??= [];
    values.push(fields[at + 1] ?? '');
  }
  return values ?? NONE;
}

const NONE: readonly string[] = [];
