// `daypass inspect`: what a token claims, read offline and not verified.
import { decodeBase64url } from '@daypass/core/base64url';
import { readSealKid } from '@daypass/core/seal';
import { readToken, readUnverifiedClaims, type TokenClaims } from '@daypass/core/token';
import { Command } from 'commander';
import { type Context, examples, type With } from '../context.ts';
import { facts } from '../output.ts';
import { tokenArgument } from '../token-argument.ts';

/** The command. */
export const inspectCommand = (context: Context): Command =>
  examples(
    new Command('inspect')
      .description('decode a token offline; nothing of it is verified (introspect asks the control plane)')
      .argument('<token>', 'the token, or - to read it from stdin')
      .action((token: string, _options: unknown, command: Command) =>
        inspect(context, token, command.optsWithGlobals()),
      ),
    'daypass inspect "$TOKEN"',
    "daypass mint --service github --allow 'GET /user' | daypass inspect -",
  );

const inspect = async ({ io }: Context, argument: string, options: With<object>): Promise<void> => {
  const text = await tokenArgument(argument, io);
  const read = readToken(text);
  const claims = readUnverifiedClaims(read);
  if (options.json === true) {
    const [head = ''] = text.split('.', 1);
    const header: unknown = JSON.parse(new TextDecoder().decode(decodeBase64url(head)));
    io.out(`${JSON.stringify({ verified: false, header, claims })}\n`);
    return;
  }
  io.err('NOT VERIFIED: anybody can write a token that says this. `daypass introspect` asks the control plane.\n');
  io.out(claimsText(claims, read.kid, text.length, io.now()));
};

const claimsText = (claims: TokenClaims, kid: string, bytes: number, nowMs: number): string =>
  facts([
    ['id (jti)', claims.jti],
    ['service', claims.service],
    ['client (client_id)', claims.client_id],
    ['speaks for (sub)', claims.sub],
    ['minted by (caller)', claims.caller],
    ...claims.allowed.map((rule) => ['allows', rule] as const),
    ['minted', time(claims.iat)],
    ['not before', time(claims.nbf)],
    ['ends', `${time(claims.exp)} (${claims.exp * 1000 > nowMs ? 'to come' : 'past'})`],
    ['fleet (aud)', claims.aud],
    ['issuer', claims.iss],
    ['key', kid],
    ['status list', `${claims.status.status_list.uri} #${claims.status.status_list.idx}`],
    ['bound to key (cnf)', claims.cnf?.jkt ?? ''],
    ['acted for by (act)', actorsOf(claims.act).join(', before that ')],
    ['exchanged from', (claims.parents ?? []).map(({ jti }) => jti).join(', from ')],
    ['credential', claims.credential === undefined ? "the service's own" : carried(claims.credential)],
    ['size', `${bytes} bytes`],
  ]);

const actorsOf = (act: TokenClaims['act']): readonly string[] =>
  act === undefined ? [] : [act.sub, ...actorsOf(act.act)];

const carried = (sealed: string): string => {
  try {
    return `sealed in the token to ${readSealKid(sealed)}`;
  } catch {
    return 'something in the token that is not a sealed credential';
  }
};

const time = (seconds: number): string => new Date(seconds * 1000).toISOString();
