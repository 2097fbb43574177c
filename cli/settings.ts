// Every setting: its DAYPASS_ variable, its flag, and which commands take it.
import { type Command, Option } from 'commander';

/** Environment variables as a process has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A command that takes settings. */
export type Taker = 'control' | 'data' | 'up';

type Setting = {
  /** The variable; the flag is derived from it: `DAYPASS_X_Y` is `--x-y`. */
  readonly name: string;
  /** Placeholder of the value; absent for a switch, which sets the variable to 1. */
  readonly value?: string;
  readonly text: string;
  readonly takers: readonly Taker[];
};

const both = ['control', 'data', 'up'] as const;

const settings: readonly Setting[] = [
  {
    name: 'DAYPASS_CONTROL_LISTEN',
    value: 'ADDRESS',
    text: 'where the control plane listens (default 127.0.0.1:8480)',
    takers: both,
  },
  {
    name: 'DAYPASS_DATA_LISTEN',
    value: 'ADDRESS',
    text: 'where the data plane listens (default 127.0.0.1:8470)',
    takers: both,
  },
  {
    name: 'DAYPASS_DATA_ADMIN_LISTEN',
    value: 'ADDRESS',
    text: 'where the data plane has health and metrics (default 127.0.0.1:8471)',
    takers: both,
  },
  {
    name: 'DAYPASS_DATABASE_URL',
    value: 'URL',
    text: 'the database: sqlite:PATH (default: under the home) or postgres://…',
    takers: ['control', 'up'],
  },
  {
    name: 'DAYPASS_DATABASE_CONNECTIONS',
    value: 'COUNT',
    text: 'most connections to PostgreSQL (default 10)',
    takers: ['control', 'up'],
  },
  {
    name: 'DAYPASS_ALLOW_UPSTREAM_RANGES',
    value: 'CIDRS',
    text: 'private address ranges that upstreams may lie in: CIDR[:port], comma separated',
    takers: both,
  },
  {
    name: 'DAYPASS_INSECURE_LISTEN',
    text: 'allow listening without TLS on an address that is not loopback',
    takers: both,
  },
  {
    name: 'DAYPASS_CONTROL_TLS_CERT',
    value: 'FILE',
    text: "the control plane's certificate chain (PEM)",
    takers: ['control', 'up'],
  },
  {
    name: 'DAYPASS_CONTROL_TLS_KEY',
    value: 'FILE',
    text: "the control plane's private key (PEM)",
    takers: ['control', 'up'],
  },
  {
    name: 'DAYPASS_DATA_TLS_CERT',
    value: 'FILE',
    text: "the data plane's certificate chain (PEM)",
    takers: ['data', 'up'],
  },
  { name: 'DAYPASS_DATA_TLS_KEY', value: 'FILE', text: "the data plane's private key (PEM)", takers: ['data', 'up'] },
  {
    name: 'DAYPASS_ISSUER',
    value: 'URL',
    text: 'the `iss` of tokens (default: the control URL)',
    takers: ['control', 'up'],
  },
  {
    name: 'DAYPASS_DATA_PUBLIC_URL',
    value: 'URL',
    text: 'the URL that clients reach the data plane by (default: its listen address)',
    takers: ['data', 'up'],
  },
  {
    name: 'DAYPASS_LEASE',
    value: 'DURATION',
    text: 'how long a data plane works on without the control plane, 1m to 24h (default 1h)',
    takers: ['control', 'up'],
  },
  {
    name: 'DAYPASS_SNAPSHOT_HISTORY',
    value: 'DURATION',
    text: 'how long published snapshots can be shown, 1h to 3650d (default 30d)',
    takers: ['control', 'up'],
  },
  {
    name: 'DAYPASS_AUDIT_SPOOL_BYTES',
    value: 'BYTES',
    text: 'the most that the audit spool may hold (default 1 GiB)',
    takers: ['data', 'up'],
  },
  {
    name: 'DAYPASS_WORKERS',
    value: 'NUMBER',
    text: 'threads of the data plane that serve requests (default: one for each core)',
    takers: ['data', 'up'],
  },
  {
    name: 'DAYPASS_AUDIT',
    value: 'RULE',
    text: 'default, or strict: a decision is durable before its request goes upstream',
    takers: ['data', 'up'],
  },
  {
    name: 'DAYPASS_MAX_IN_FLIGHT',
    value: 'NUMBER',
    text: 'requests that the data plane serves at once (default 1024)',
    takers: ['data', 'up'],
  },
  {
    name: 'DAYPASS_SERVER_TIMING',
    text: 'add Server-Timing with the decision id and the snapshot version',
    takers: ['data', 'up'],
  },
  {
    name: 'DAYPASS_DPOP_NONCE',
    value: 'WHEN',
    text: 'auto: DPoP proofs need a nonce where the pool has more than one data plane; always (default auto)',
    takers: ['data', 'up'],
  },
  { name: 'DAYPASS_LOG_LEVEL', value: 'LEVEL', text: 'debug, info, warn or error (default info)', takers: both },
  {
    name: 'DAYPASS_DEMO_LISTEN',
    value: 'ADDRESS',
    text: 'where the demo upstream listens (default 127.0.0.1:8490)',
    takers: ['up'],
  },
];

/** Settings that the whole command takes, flags or variables; `up` and the planes hand them on. */
export type GlobalOptions = {
  readonly json?: boolean;
  readonly home?: string;
  readonly controlUrl?: string;
  readonly apiKey?: string;
  readonly apiKeyFile?: string;
  readonly root?: string;
  readonly timeout?: string;
};

/** Adds the flags that every command takes. */
export const addGlobalOptions = (program: Command): Command =>
  program
    .option('--json', 'one JSON object a line on stdout, an error as one object on stderr')
    .option('--home <folder>', 'keys and data (DAYPASS_HOME; default .daypass)')
    .option('--control-url <url>', 'the control plane (DAYPASS_CONTROL_URL; default http://127.0.0.1:8480)')
    .option('--api-key <key>', 'seen in the process list: prefer DAYPASS_API_KEY or the file')
    .option('--api-key-file <file>', 'file that holds the API key (default control/admin.key of the home)')
    .option(
      '--root <file>',
      'public key of the fleet root (DAYPASS_ROOT; default root/ of the home, else pinned at first use)',
    )
    .option('--timeout <duration>', 'longest wait for the control plane (DAYPASS_TIMEOUT; default 15s)');

/** Adds a flag for every setting that the command takes. */
export const addSettings = (command: Command, taker: Taker): Command => {
  for (const setting of settings.filter((one) => one.takers.includes(taker)))
    command.addOption(
      new Option(
        setting.value === undefined ? flagOf(setting.name) : `${flagOf(setting.name)} <${setting.value.toLowerCase()}>`,
        `${setting.text} (${setting.name})`,
      ),
    );
  return command;
};

/** The environment for a plane: the given one with the flags laid over it. */
export const planeEnvironment = (
  env: Environment,
  options: Readonly<Record<string, unknown>>,
): Record<string, string> => {
  const merged: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) if (value !== undefined) merged[name] = value;
  for (const name of [...settings.map((setting) => setting.name), 'DAYPASS_HOME', 'DAYPASS_CONTROL_URL']) {
    const value = options[optionOf(name)];
    if (typeof value === 'string') merged[name] = value;
    if (value === true) merged[name] = '1';
  }
  // The key is for this command alone: no plane reads it.
  delete merged.DAYPASS_API_KEY;
  return merged;
};

/** The home folder: flag, variable, `.daypass`. */
export const homeOf = (options: GlobalOptions, env: Environment): string =>
  options.home ?? nonEmpty(env.DAYPASS_HOME) ?? '.daypass';

/** The control plane's URL: flag, variable, or the listen address, by https when it has a certificate. */
export const controlUrlOf = (options: GlobalOptions, env: Environment): string =>
  options.controlUrl ??
  nonEmpty(env.DAYPASS_CONTROL_URL) ??
  listenUrl(env.DAYPASS_CONTROL_LISTEN, '127.0.0.1:8480', env.DAYPASS_CONTROL_TLS_CERT);

/** Where clients reach the data plane: its own variable, its public URL, or its listen address. */
export const dataUrlOf = (env: Environment): string =>
  nonEmpty(env.DAYPASS_DATA_URL) ??
  nonEmpty(env.DAYPASS_DATA_PUBLIC_URL) ??
  listenUrl(env.DAYPASS_DATA_LISTEN, '127.0.0.1:8470', env.DAYPASS_DATA_TLS_CERT);

/** A listener on every address is found on the loopback. */
const listenUrl = (listen: string | undefined, otherwise: string, cert: string | undefined): string => {
  const scheme = nonEmpty(cert) === undefined ? 'http' : 'https';
  const address = (nonEmpty(listen) ?? otherwise).replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:');
  return `${scheme}://${address}`;
};

/** A variable that is set to nothing is not set. */
export const nonEmpty = (text: string | undefined): string | undefined => (text === '' ? undefined : text);

/** The environment of this process: read here and nowhere else in the command. */
export const processEnvironment = (): Environment => process.env;

/** `DAYPASS_X_Y` is `--x-y`. */
export const flagOf = (name: string): string => `--${name.slice('DAYPASS_'.length).toLowerCase().replaceAll('_', '-')}`;

const optionOf = (name: string): string =>
  flagOf(name)
    .slice(2)
    .replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
