// The way to the control plane: where it is, who asks, which root is trusted, and how long to wait.
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isApiKey } from '@daypass/core/api-key';
import { controlPaths } from '@daypass/core/home';
import { signNodeAssertion } from '@daypass/core/node-auth';
import { bearer, type Clients, createClients } from '@daypass/sdk/client';
import { durationFlag } from './duration.ts';
import { UnreachableError, UsageError } from './failure.ts';
import type { Io } from './io.ts';
import type { NodeFiles } from './node-files.ts';
import { controlUrlOf, dataUrlOf, type GlobalOptions, homeOf, nonEmpty } from './settings.ts';

/** An open way to the control plane. */
export type Connection = Clients & {
  readonly io: Io;
  readonly url: string;
  /** Where clients reach the proxy, as far as is known here. */
  readonly dataUrl: string;
  readonly home: string;
  /** File of the fleet root that the user named. */
  readonly rootFile: string | undefined;
};

const DEFAULT_TIMEOUT = '15s';

/** Clients that carry the API key. Nothing is sent yet. @throws UsageError for a wrong URL or a missing key */
export const openConnection = async (options: GlobalOptions, io: Io): Promise<Connection> => {
  const url = checkUrl(controlUrlOf(options, io.env));
  const home = homeOf(options, io.env);
  const apiKey = await readApiKey(options, io, home);
  if (isOpenToOthers(url))
    io.note(`the API key goes to ${new URL(url).host} without TLS: whoever is on the way reads it`);
  const timeoutMs = timeoutOf(options, io);
  const clients = createClients({ baseUrl: url, authorization: bearer(apiKey), fetch: fetchFrom(url), timeoutMs });
  const rootFile = options.root ?? nonEmpty(io.env.DAYPASS_ROOT);
  return { ...clients, io, url, dataUrl: dataUrlOf(io.env), home, rootFile };
};

/**
 * A client of a control plane, the first of a list, that shows no API key, for what anyone may ask.
 * @throws UsageError for a wrong URL
 */
export const openAnonymous = (options: GlobalOptions, io: Io): Pick<Connection, 'nodes' | 'url'> => {
  const url = firstUrl(options, io);
  if (isOpenToOthers(url))
    io.note(`what is sent to ${new URL(url).host} goes without TLS: whoever is on the way reads and uses it`);
  const clients = createClients({ baseUrl: url, fetch: fetchFrom(url), timeoutMs: timeoutOf(options, io) });
  return { nodes: clients.nodes, url };
};

/**
 * Clients of a control plane, the first of a list, that ask as a node does, by its own key.
 * @throws UsageError for a wrong URL
 */
export const openAsNode = (
  options: GlobalOptions,
  io: Io,
  { node, fleet, nodeKey }: Pick<NodeFiles, 'node' | 'fleet' | 'nodeKey'>,
): Pick<Connection, 'snapshots' | 'keys' | 'url'> => {
  const url = firstUrl(options, io);
  const authorization = async (): Promise<string> => {
    const jti = randomBytes(16).toString('hex');
    return `Bearer ${await signNodeAssertion({ node, fleet, now: io.now() / 1000, jti }, nodeKey)}`;
  };
  return {
    ...createClients({ baseUrl: url, authorization, fetch: fetchFrom(url), timeoutMs: timeoutOf(options, io) }),
    url,
  };
};

const firstUrl = (options: GlobalOptions, { env }: Io): string =>
  checkUrl(controlUrlOf(options, env).split(',', 1)[0]?.trim() ?? '');

const timeoutOf = (options: GlobalOptions, io: Io): number =>
  durationFlag(options.timeout ?? nonEmpty(io.env.DAYPASS_TIMEOUT) ?? DEFAULT_TIMEOUT, '--timeout');

const checkUrl = (text: string): string => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:' || url?.protocol === 'http:') return url.href.replace(/\/$/, '');
  throw new UsageError(`the control URL "${text}" is not an http or https URL`, '--control-url');
};

const isOpenToOthers = (text: string): boolean => {
  const { protocol, hostname } = new URL(text);
  return protocol === 'http:' && !/^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
};

/** The key by flag, file or variable, else the admin key that `init` left under the home. */
const readApiKey = async (options: GlobalOptions, io: Io, home: string): Promise<string> => {
  if (options.apiKey !== undefined) return checkKey(options.apiKey, '--api-key');
  if (options.apiKeyFile !== undefined) return checkKey(await readKeyFile(options.apiKeyFile), options.apiKeyFile);
  const fromEnv = nonEmpty(io.env.DAYPASS_API_KEY);
  if (fromEnv !== undefined) return checkKey(fromEnv, 'DAYPASS_API_KEY');
  const file = controlPaths(home).adminKey;
  return checkKey(await readKeyFile(file), file);
};

const readKeyFile = async (file: string): Promise<string> => {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown reason';
    const advice = 'set DAYPASS_API_KEY, give --api-key-file, or say where the home is with --home';
    throw new UsageError(`there is no API key: ${file} cannot be read (${code}); ${advice}`, file);
  }
};

/** The key is never quoted: a near miss is still a secret. */
const checkKey = (text: string, source: string): string => {
  const key = text.trim();
  if (isApiKey(key)) return key;
  throw new UsageError(`${source} does not hold an API key (dpk_ and 43 characters)`, source);
};

/** The platform's fetch, which says whom it could not reach. */
const fetchFrom =
  (url: string): typeof fetch =>
  async (input, init) => {
    try {
      return await fetch(input, init);
    } catch (cause) {
      // An abort is the caller's own, or the timeout of a call: the client has words for both.
      if (!(cause instanceof TypeError)) throw cause;
      throw new UnreachableError(
        `the control plane at ${url} cannot be reached (${reasonOf(cause)}); is it running, and is --control-url right?`,
        { cause },
      );
    }
  };

const reasonOf = (error: TypeError): string => {
  const { cause } = error;
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code;
  return cause instanceof Error && cause.message !== '' ? cause.message : 'no connection';
};
