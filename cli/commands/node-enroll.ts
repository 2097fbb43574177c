// `daypass node enroll`: makes this machine a node of a fleet, with a key of its own and a token that is good once.
import { createHash } from 'node:crypto';
import { isEnrolmentToken, parseFingerprint, rootOfEnrolmentToken, signEnrolment } from '@daypass/core/enrolment';
import { DaypassError } from '@daypass/core/errors';
import { isFleet } from '@daypass/core/home';
import { parseStrictJson } from '@daypass/core/json';
import {
  fingerprint,
  importEd25519,
  type PrivateJwk,
  type PublicJwk,
  readPublicJwk,
  verifySignedKey,
} from '@daypass/core/key';
import type { EnrolResponse } from '@daypass/sdk/gen/daypass/v1/node_pb';
import { Command } from 'commander';
import { openAnonymous } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { FailedError, failureOf, UsageError } from '../failure.ts';
import type { Io } from '../io.ts';
import { beginNodeHome, type NodeIdentity } from '../node-home.ts';
import { facts } from '../output.ts';
import { homeOf } from '../settings.ts';
import { tokenArgument } from '../token-argument.ts';

type Options = With<{
  readonly token: string;
  readonly name?: string;
  readonly rootFingerprint?: string;
  readonly dataDir?: string;
}>;

/** The command. */
export const nodeEnrollCommand = (context: Context): Command =>
  examples(
    new Command('enroll')
      .description(
        'make this machine a data plane of a fleet: a key of its own, and the fleet root that the token names',
      )
      .requiredOption('--token <token>', 'the enrolment token, or - to read it from stdin')
      .option('--name <name>', 'the name of the node, where the token does not say it')
      .option('--root-fingerprint <sha256>', 'refuse a token of any other fleet root')
      .option('--data-dir <folder>', "where the data plane's files go (default: data/ of the home)")
      .action((_options: unknown, self: Command) => enroll(context, self.optsWithGlobals<Options>())),
    'daypass node enroll --token - --control-url https://control.example:8480 < token.txt',
    'daypass node enroll --token dpe_… --name edge-1 --data-dir /var/lib/daypass/data',
  );

const AGAIN = 'the same command, run again while the token lives, goes on from here';

const enroll = async ({ io }: Context, options: Options): Promise<void> => {
  const token = await readToken(options, io);
  const home = homeOf(options, io.env);
  const connection = openAnonymous(options, io);
  const pending = await beginNodeHome({ home, dataDir: options.dataDir });
  const node = await askFor(connection, token, options.name ?? '', pending.key, io).catch(async (error: unknown) => {
    const failure = failureOf(error);
    // It may have been enrolled all the same: with its key it can ask again.
    if (failure.exitCode === 3) throw new FailedError({ ...failure, message: `${failure.message}; ${AGAIN}` });
    await pending.abandon();
    throw error;
  });
  await pending.complete(node).catch((error: unknown) => {
    const failure = failureOf(error);
    throw new FailedError({ ...failure, message: `${failure.message}; ${AGAIN}` });
  });
  await show(io, options, home, node, pending.sealing);
};

/** The token, if it is of the fleet root that was given: nothing is sent before. */
const readToken = async (options: Options, io: Io): Promise<string> => {
  const token = await tokenArgument(options.token, io);
  if (!isEnrolmentToken(token)) throw new UsageError('--token does not hold an enrolment token (dpe_…)', '--token');
  if (options.rootFingerprint === undefined) return token;
  const given = parseFingerprint(options.rootFingerprint);
  if (given === undefined)
    throw new UsageError(
      '--root-fingerprint takes what `daypass init` showed: SHA-256 and 43 characters',
      '--root-fingerprint',
    );
  if (given === rootOfEnrolmentToken(token)) return token;
  const message = `the token is for the fleet root ${rootOfEnrolmentToken(token)}, not for ${given}: nothing was sent`;
  throw new DaypassError('key_untrusted', message, { field: '--root-fingerprint' });
};

/** Enrols, and believes of the answer only what chains to the root that the token names. */
const askFor = async (
  { nodes, url }: ReturnType<typeof openAnonymous>,
  token: string,
  name: string,
  key: PrivateJwk,
  io: Io,
): Promise<NodeIdentity> => {
  const { kty, crv, x } = key;
  const tokenHash = createHash('sha256').update(token).digest('hex');
  const proof = await signEnrolment({ tokenHash, name, jwk: { kty, crv, x } }, await importEd25519(key, 'sign'));
  const answer = await nodes.enrol({ token, name, jwk: JSON.stringify({ kty, crv, x }), proof });
  try {
    return await identityOf(answer, token, name, io.now() / 1000);
  } catch (cause) {
    const why = cause instanceof DaypassError ? cause.message : 'it cannot be read';
    const message = `the answer of ${url} does not chain to the fleet root of the token (${why}): nothing was kept`;
    throw new DaypassError('key_untrusted', message, { cause });
  }
};

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

const identityOf = async (
  { fleet, root: text, pool, name, key }: EnrolResponse,
  token: string,
  asked: string,
  now: number,
): Promise<NodeIdentity> => {
  const root: PublicJwk = readPublicJwk(parseStrictJson(text), 'Ed25519', 'root');
  if ((await fingerprint(root)) !== rootOfEnrolmentToken(token)) throw untrusted('it shows another root');
  if (key === undefined) throw untrusted('it shows no key of the pool');
  await verifySignedKey(key, { root, fleet, pool, use: 'snapshot', now });
  const isSound = isFleet(fleet) && NAME.test(pool) && NAME.test(name) && (asked === '' || asked === name);
  if (!isSound) throw untrusted('it has a wrong fleet, pool or name');
  return { fleet, root, pool, name };
};

const untrusted = (message: string): DaypassError => new DaypassError('key_untrusted', message);

const show = async (
  io: Io,
  options: Options,
  home: string,
  { fleet, root, pool, name }: NodeIdentity,
  sealing: string,
): Promise<void> => {
  const shown = await fingerprint(root);
  if (options.json === true) {
    io.out(`${JSON.stringify({ home, name, pool, fleet, root: shown, sealing })}\n`);
    return;
  }
  io.out(
    facts([
      ['node', name],
      ['pool', pool],
      ['fleet', fleet],
      ['fleet root', `SHA-256 ${shown}`],
    ]),
  );
  io.out(
    `This node opens no credential yet: the keys of the pool come from its operator, never from the control plane.\n` +
      `Copy data/sealing/*.jwk of another node of the pool "${pool}" to ${sealing}, mode 0600, and start: daypass data-plane\n`,
  );
};
