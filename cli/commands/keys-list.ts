// `daypass keys list`: every key with its state, and who still needs it.
import { type Timestamp, timestampDate } from '@bufbuild/protobuf/wkt';
import { type Key, KeySchema, KeyState, KeyUse } from '@daypass/sdk/gen/daypass/v1/key_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { jsonLine, table } from '../output.ts';

/** The command. */
export const keysListCommand = (context: Context): Command =>
  examples(
    new Command('list')
      .description('list the keys with their states')
      .action((_options: unknown, self: Command) => list(context, self.optsWithGlobals())),
    'daypass keys list',
    'daypass keys list --json',
  );

const list = async ({ io }: Context, options: With<object>): Promise<void> => {
  const connection = await openConnection(options, io);
  const { keys } = await connection.keys.list({});
  if (options.json === true) for (const key of keys) io.out(jsonLine(KeySchema, key));
  else io.out(table(['KEY', 'USE', 'POOL', 'STATE', 'SINCE', ''], keys.map(rowOf)));
};

const rowOf = (key: Key): readonly string[] => [
  key.kid,
  USES[key.use] ?? '',
  key.pool,
  STATES[key.state] ?? '',
  dateOf(key.retireTime ?? key.activateTime ?? key.createTime),
  remarks(key).join('; '),
];

const USES: Readonly<Record<KeyUse, string>> = {
  [KeyUse.UNSPECIFIED]: '',
  [KeyUse.TOKEN]: 'token',
  [KeyUse.SNAPSHOT]: 'snapshot',
  [KeyUse.SEAL]: 'seal',
};
const STATES: Readonly<Record<KeyState, string>> = {
  [KeyState.UNSPECIFIED]: '',
  [KeyState.WAITING]: 'waiting',
  [KeyState.CURRENT]: 'current',
  [KeyState.FORMER]: 'former',
  [KeyState.RETIRED]: 'retired',
};

const remarks = (key: Key): readonly string[] => {
  const isForSigning = key.use === KeyUse.TOKEN && key.state !== KeyState.RETIRED;
  return [
    ...(isForSigning && !key.held ? ['its private half is not on this control plane'] : []),
    ...(key.state === KeyState.FORMER && key.lastExpireTime !== undefined
      ? [`its last token ends by ${dateOf(key.lastExpireTime)}`]
      : []),
    ...(key.generation > 0n ? [`generation ${key.generation}`] : []),
    ...(key.services > 0n
      ? [key.services === 1n ? '1 service is sealed to it' : `${key.services} services are sealed to it`]
      : []),
    ...(key.tokens > 0n ? [`${key.tokens} tokens carry a seal of it`] : []),
  ];
};

const dateOf = (time: Timestamp | undefined): string => (time === undefined ? '' : timestampDate(time).toISOString());
