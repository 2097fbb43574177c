// `daypass nodes`: the data planes, what each serves, and what it refused.
import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';
import { type Node, NodeSchema, NodeState } from '@daypass/sdk/gen/daypass/v1/node_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { jsonLine, printable, table } from '../output.ts';
import { collectItems, eachItem } from '../paging.ts';

/** The command. */
export const nodesCommand = (context: Context): Command =>
  examples(
    new Command('nodes')
      .description('list the data planes: how far each is behind, when its lease ends, and what it refused')
      .action((_options: unknown, self: Command) => listNodes(context, self.optsWithGlobals())),
    'daypass nodes',
    'daypass nodes --json',
  );

const listNodes = async ({ io }: Context, options: With<object>): Promise<void> => {
  const connection = await openConnection(options, io);
  const nodes = eachItem(async (request) => {
    const { nodes: items, nextPageToken } = await connection.nodes.list(request);
    return { items, nextPageToken };
  });
  if (options.json === true) {
    for await (const node of nodes) io.out(jsonLine(NodeSchema, node));
    return;
  }
  const all = await collectItems(nodes);
  io.out(
    table(
      HEADINGS,
      all.map((node) => rowOf(node, io.now())),
    ),
  );
  for (const node of all) io.out(refusalText(node));
};

const HEADINGS = ['NAME', 'POOL', 'STATE', 'VERSION', 'BEHIND', 'LEASE ENDS', 'REFUSED', 'SOFTWARE', 'REPORTED'];

const STATES: Readonly<Record<NodeState, string>> = {
  [NodeState.UNSPECIFIED]: '',
  [NodeState.ENROLLED]: 'enrolled',
  [NodeState.EXPELLED]: 'expelled',
  [NodeState.WITHDRAWN]: 'withdrawn',
};

const rowOf = (node: Node, now: number): readonly string[] => [
  ...[node.name, node.pool, STATES[node.state] ?? ''],
  ...[node.version === 0n ? 'none' : String(node.version), behind(node)],
  ...[leaseText(node.leaseExpiresAt, now), node.nackCode, node.software],
  node.reportTime === undefined ? 'never' : timeText(node.reportTime),
];

/** Versions that the pool has and the node has not. */
const behind = ({ state, version, newestVersion }: Node): string =>
  state === NodeState.ENROLLED && newestVersion > version ? String(newestVersion - version) : '';

const leaseText = (lease: Timestamp | undefined, now: number): string => {
  if (lease === undefined) return '';
  return timestampDate(lease).getTime() <= now ? 'ended' : timeText(lease);
};

const timeText = (time: Timestamp): string => timestampDate(time).toISOString();

const refusalText = ({ name, refusedVersion, nackCode, nackMessage }: Node): string =>
  nackCode === ''
    ? ''
    : `${name} refused ${refusedVersion === 0n ? 'a snapshot' : `snapshot ${refusedVersion}`}: ${printable(nackMessage)} [${nackCode}]\n`;
