// `daypass keys retire`: ends a key that another has taken the place of.
import { KeyServiceRetireResponseSchema } from '@daypass/sdk/gen/daypass/v1/key_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { addFolders, type FolderOptions, foldersOf } from '../home-flags.ts';
import { jsonLine } from '../output.ts';
import { addWait, rolloutText, waitField } from '../rollout.ts';
import { isSnapshotKey, retireSnapshot } from '../rotation.ts';

type Options = With<FolderOptions & { readonly force?: boolean; readonly wait?: string }>;

/** The command. */
export const keysRetireCommand = (context: Context): Command =>
  examples(
    addWait(
      addFolders(
        new Command('retire')
          .description(
            'end a key: tokens of it are refused, nothing is sealed to it, no data plane takes its snapshots',
          )
          .argument('<kid>', 'the key, as `daypass keys list` shows it')
          .option('--force', 'the token key that signs, too, where another waits: that one signs at once'),
      ),
    ).action((kid: string, _options: unknown, self: Command) => retire(context, kid, self.optsWithGlobals<Options>())),
    'daypass keys retire Yk6uZkuC2UpuULPWoYyxcXB5SDPKDo9ItZV2u8rm3QY',
  );

const retire = async (context: Context, kid: string, options: Options): Promise<void> => {
  const { io } = context;
  const folders = foldersOf(options, io);
  // What the root has signed ends by what the root signs: the control plane has no say in it.
  if (await isSnapshotKey(folders, kid)) {
    const done = await retireSnapshot(folders, kid, io.now() / 1000);
    if (options.json === true) io.out(`${JSON.stringify({ use: 'snapshot', ...done })}\n`);
    else
      io.out(
        `The snapshot key ${kid} ends with generation ${done.generation}.\nHand ${done.written.join(', ')} to every control plane (control/).\n`,
      );
    return;
  }
  const wait = waitField(options.wait);
  const connection = await openConnection(options, io);
  const response = await connection.keys.retire({ kid, force: options.force === true, ...wait });
  if (response.tokens > 0n)
    io.note(
      `${response.tokens} tokens carry a credential sealed to it: keep its private half on the data planes until they have ended`,
    );
  if (options.json === true) io.out(jsonLine(KeyServiceRetireResponseSchema, response));
  else io.out(`Retired ${kid}.\n${rolloutText(response.rollout)}`);
};
