// The nodes that a file of the operator names: enrolled at start, withdrawn when the file names them no more.
import type { PublicJwk } from '@daypass/core/key';
import type { Aggregates, NodeRow } from '../store/interface.ts';
import { keyText } from './node-row.ts';

/** A node of the file. */
export type FileNode = { readonly name: string; readonly pool: string; readonly jwk: PublicJwk };

/** A node of the file that is not taken, and why. */
export type IgnoredNode = { readonly node: string; readonly why: string };

/** What the operator has to hear: another control plane may have been given another file. */
export type FileEnrolment = { readonly ignored: readonly IgnoredNode[]; readonly withdrawn: readonly string[] };

const PAGE = 500;

/**
 * Makes the database say what the file says. It never brings back a node that was expelled, and never touches one that was
 * enrolled by a token. `now` in milliseconds.
 */
export const enrolFromFile = async (
  tx: Pick<Aggregates, 'nodes'>,
  nodes: readonly FileNode[],
  now: number,
): Promise<FileEnrolment> => {
  const ignored: IgnoredNode[] = [];
  const withdrawn: string[] = [];
  for (const { name, pool, jwk } of nodes) {
    const known = await tx.nodes.get(name);
    const why = reasonAgainst(name, known, await tx.nodes.byKey(keyText(jwk)));
    if (why !== undefined) ignored.push({ node: name, why });
    else await put(tx, known, { name, pool, jwk: keyText(jwk), enrolledAt: known?.enrolledAt ?? now, enrolledBy: '' });
  }
  const named = new Set(nodes.map(({ name }) => name));
  for await (const row of allOf(tx)) {
    if (row.enrolledBy !== '' || row.enrolledAt === undefined || named.has(row.name)) continue;
    await tx.nodes.withdraw(row.name);
    withdrawn.push(row.name);
  }
  return { ignored, withdrawn };
};

const reasonAgainst = (name: string, known: NodeRow | undefined, holder: NodeRow | undefined): string | undefined => {
  if (known?.expelledAt !== undefined) return 'it was expelled';
  if (known !== undefined && known.enrolledBy !== '') return 'a node of that name was enrolled by a token';
  if (holder !== undefined && holder.name !== name) return `its key is, or was, that of ${holder.name}`;
  return undefined;
};

const put = (
  { nodes }: Pick<Aggregates, 'nodes'>,
  known: NodeRow | undefined,
  node: Parameters<Aggregates['nodes']['insert']>[0],
): Promise<void> => (known === undefined ? nodes.insert(node) : nodes.replace(node));

async function* allOf({ nodes }: Pick<Aggregates, 'nodes'>): AsyncGenerator<NodeRow> {
  let after: string | undefined;
  for (;;) {
    const rows = await nodes.list({ after, limit: PAGE });
    yield* rows;
    after = rows.at(-1)?.name;
    if (rows.length < PAGE) return;
  }
}
