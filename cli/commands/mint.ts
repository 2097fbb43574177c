// `daypass mint`: a token, alone on stdout.
import { durationFromMs, timestampDate } from '@bufbuild/protobuf/wkt';
import { DaypassError } from '@daypass/core/errors';
import { DEFAULT_TTL_SECONDS } from '@daypass/core/service';
import { MintResponseSchema } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { Command } from 'commander';
import { type Connection, openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { durationFlag } from '../duration.ts';
import { UsageError } from '../failure.ts';
import type { Io } from '../io.ts';
import { mintBatch } from '../mint-batch.ts';
import { expandOperations } from '../operation-rules.ts';
import { jsonLine } from '../output.ts';
import { placeFromMessage } from '../place.ts';
import { seal } from '../sealing.ts';
import { readSecretInput } from '../secret-input.ts';
import { canonicalRules } from '../service-flags.ts';
import { noteTarget } from '../service-seal.ts';
import { canAsk, openTerminal, type Terminal } from '../terminal.ts';

type Options = With<{
  readonly service?: string;
  readonly allow?: readonly string[];
  readonly ttl?: string;
  readonly client?: string;
  readonly subject?: string;
  readonly sealStdin?: boolean;
  readonly dpopJkt?: string;
  readonly upstream?: string;
  readonly batch?: string;
}>;

/** The command. */
export const mintCommand = (context: Context): Command =>
  examples(
    new Command('mint')
      .description('mint a token; it alone goes to stdout. Asks for what is missing where there is a terminal')
      .option('--service <name>', 'the service it is for')
      .option('--allow <rule...>', 'what it allows: METHOD /path/{name}/*/**, METHOD ~regex, op:ID or scope:NAME')
      .option('--ttl <duration>', 'how long it lives (default 15m)')
      .option('--client <label>', 'label of the client that will use it (default: the caller)')
      .option('--subject <text>', 'whom the client speaks for (default: the client)')
      .option('--dpop-jkt <thumbprint>', 'SHA-256 thumbprint of the key that must prove each use (RFC 9449, RFC 7638)')
      .option('--seal-stdin', 'seal the credential on stdin into the token, for these requests and this caller only')
      .option('--upstream <url>', "with --seal-stdin: refuse to seal when this is not the service's upstream")
      .option(
        '--batch <file>',
        'mint many: a JSON array of objects with allow, ttl, client, subject, dpop_jkt; all or none',
      )
      .action((_options: unknown, command: Command) => mint(context, command.optsWithGlobals<Options>())),
    "daypass mint --service github --allow 'GET /repos/acme/{repo}/issues' --ttl 15m --client triage-bot",
    "TOKEN=$(daypass mint --service github --allow 'GET /repos/acme/*/issues' --allow 'POST /repos/acme/*/issues/{n}/labels')",
    `daypass mint --service github --allow 'op:issues/add-labels where path.owner = "acme"'`,
    "daypass mint --service github --allow 'GET /user' --seal-stdin < my-token.txt",
    'daypass mint --service github --batch workers.json',
  );

type Asked = { readonly service: string; readonly allow: readonly string[]; readonly upstream: string | undefined };

const mint = async ({ io }: Context, options: Options): Promise<void> => {
  if (options.batch !== undefined) return mintBatch(io, options.batch, onlyBatch(options));
  const ttlMs = options.ttl === undefined ? undefined : durationFlag(options.ttl, '--ttl');
  const terminal = canAsk(io) ? openTerminal(io) : undefined;
  const { service, secret, ...asked } = await gather(io, options, terminal).finally(() => terminal?.close());
  const connection = await openConnection(options, io);
  // A seal says all by itself; of a token, the control plane puts the rules in the place of `op:`.
  const allow = secret === undefined ? asked.allow : await expandOperations(connection, service, asked.allow);
  const lifetimeSeconds = ttlMs === undefined ? DEFAULT_TTL_SECONDS : ttlMs / 1000;
  const sealedCredential =
    secret === undefined
      ? ''
      : await sealForToken(connection, { service, allow, upstream: options.upstream }, secret, lifetimeSeconds);
  const response = await connection.tokens.mint({
    ...{ service, allow: [...allow], sealedCredential },
    ...{ client: options.client ?? '', subject: options.subject ?? '', dpopJkt: options.dpopJkt ?? '' },
    ...(ttlMs === undefined ? {} : { ttl: durationFromMs(ttlMs) }),
  });
  if (options.json === true) {
    io.out(jsonLine(MintResponseSchema, response));
    return;
  }
  io.out(`${response.token}\n`);
  if (response.expireTime !== undefined && io.stdin.isTTY === true)
    io.err(`${response.jti} is good until ${timestampDate(response.expireTime).toISOString()}\n`);
};

/** In a batch each token says for itself what it is; and a seal is one token's. */
const onlyBatch = (options: Options): Options => {
  const { allow, ttl, client, subject, dpopJkt, sealStdin, upstream } = options;
  const given = { '--allow': allow, '--ttl': ttl, '--client': client, '--subject': subject, '--dpop-jkt': dpopJkt };
  const others = { ...given, '--seal-stdin': sealStdin, '--upstream': upstream };
  const [flag] = Object.entries(others).find(([, value]) => value !== undefined) ?? [];
  if (flag === undefined) return options;
  throw new UsageError(`${flag} does not go with --batch, whose file says it for each token`, flag);
};

/** What to mint, from the flags, and from the person at the terminal for what they leave open. */
const gather = async (io: Io, options: Options, terminal: Terminal | undefined) => {
  const service = options.service ?? (await terminal?.ask('Service: ')) ?? '';
  if (service === '') throw new UsageError('say which service with --service', '--service');
  const texts = options.allow ?? (terminal === undefined ? [] : await askRules(terminal));
  if (texts.length === 0) throw new UsageError('say what the token allows with --allow', '--allow');
  const allow = canonicalRules(texts, '--allow');
  const secret = options.sealStdin === true ? await readSecretInput(io, '--seal-stdin', terminal) : undefined;
  return { service, allow, secret };
};

const askRules = async (terminal: Terminal): Promise<readonly string[]> => {
  const rules: string[] = [];
  for (;;) {
    const rule = await terminal.ask('Allow (METHOD /path, empty to end): ');
    if (rule === '') return rules;
    rules.push(rule);
  }
};

/** A seal as narrow as the token: its requests, its lifetime, and whoever mints it. */
const sealForToken = async (
  connection: Connection,
  { service: name, allow, upstream }: Asked,
  secret: Parameters<typeof seal>[1]['secret'],
  lifetimeSeconds: number,
): Promise<string> => {
  const named = allow.find((rule) => rule.startsWith('scope:'));
  if (named !== undefined)
    throw new UsageError(
      `"${named}" cannot stand in a seal, a named scope can be widened later: spell the rules out`,
      '--allow',
    );
  const [{ service }, { caller }] = await Promise.all([
    connection.services.get({ name }),
    connection.callers.whoAmI({}),
  ]);
  if (service === undefined || caller === undefined)
    throw new DaypassError('internal', 'the control plane answered without the service or the caller');
  const place = placeFromMessage(service.place);
  if (place === undefined)
    throw new DaypassError('failed_precondition', `the service "${name}" does not say where a credential goes`);
  if (upstream !== undefined && upstream !== service.upstream)
    throw new UsageError(
      `the upstream of "${name}" is ${service.upstream}, not ${upstream}: nothing was sealed`,
      '--upstream',
    );
  if (upstream === undefined) noteTarget(connection.io, { upstream: service.upstream, place });
  const { sealed } = await seal(connection, {
    ...{ service: name, pool: service.pool, upstream: service.upstream, place },
    ...{ rules: allow, callers: [caller.name], secret, lifetimeSeconds, carrier: 'token' },
  });
  return sealed;
};
