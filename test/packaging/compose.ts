// Reads docker-compose.yml as docker-compose does: merges followed, variables filled in.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { root } from '../check/sources.ts';

export type ComposeService = {
  readonly image?: string;
  readonly user?: string;
  readonly build?: { readonly target: string };
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly tmpfs?: readonly string[];
  readonly volumes?: readonly string[];
  readonly networks?: readonly string[] | Readonly<Record<string, unknown>>;
  readonly ports?: readonly string[];
  readonly profiles?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string; readonly required?: boolean }>>;
  readonly env_file?: unknown;
  readonly healthcheck?: Readonly<Record<string, unknown>>;
  readonly environment?: Readonly<Record<string, unknown>>;
  readonly entrypoint?: readonly string[];
  readonly command?: readonly string[];
  readonly restart?: string;
  readonly mem_limit?: string;
  readonly cpus?: number;
  readonly pids_limit?: number;
};

export type Compose = {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>;
  readonly volumes: Readonly<Record<string, unknown>>;
} & Readonly<Record<string, unknown>>;

/** The file, variables as they are written. */
export const readCompose = async (): Promise<Compose> =>
  parse(await readFile(join(root, 'docker-compose.yml'), 'utf8'), { merge: true }) as Compose;

/** The environment of a service where `given` are the variables of the shell: `${NAME:-default}` filled in, `$$` as `$`. */
export const environmentOf = (
  { environment = {} }: ComposeService,
  given: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(environment).map(([name, value]) => [
      name,
      String(value).replace(/\$(?:\$|\{(\w+)(?::-([^}]*))?\})/g, (whole, variable?: string, fallback?: string) =>
        variable === undefined ? '$' : given[variable] || (fallback ?? whole),
      ),
    ]),
  );
