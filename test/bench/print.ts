// Rows of figures, as JSON or for people.

/** A figure that there is not is left out. */
export type Row = Readonly<Record<string, string | number | undefined>>;

/** Writes the rows: with `json` an object a line, else a table with the names of the figures above it. */
export function print(rows: readonly Row[], json: boolean): void {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = [names, ...rows.map((row) => names.map((name) => shown(row[name])))];
  const widths = names.map((_, column) => Math.max(...cells.map((line) => (line[column] ?? '').length)));
  const lines = json
    ? rows.map((row) => JSON.stringify(row))
    : cells.map((line) =>
        line
          .map((cell, column) => (column === 0 ? cell.padEnd : cell.padStart).call(cell, widths[column] ?? 0))
          .join('  '),
      );
  process.stdout.write(`${lines.join('\n')}\n`);
}

const shown = (cell: string | number | undefined): string =>
  cell === undefined || Number.isNaN(cell) ? '' : String(cell);
