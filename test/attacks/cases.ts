// The attack cases as data: what test/attacks/attack-cases.json holds, by level.
import { readFileSync } from 'node:fs';

/** A case; its `meta` in the file explains the members. `raw`, `steps` and the rest stand beside these. */
export type Case = {
  readonly id: string;
  readonly group: string;
  readonly level: 'http' | 'upstream' | 'token' | 'connection' | 'control';
  readonly title: string;
  readonly input?: { readonly base_url: string };
  readonly steps?: readonly { readonly send?: string }[];
  readonly mutation?: readonly Op[];
  readonly expect: {
    readonly status?: readonly string[];
    readonly reach_upstream?: boolean;
    readonly max_ms?: number;
    readonly no_network?: boolean;
    readonly same_error_as?: string;
    readonly alive?: boolean;
    readonly logs_not_contain?: string;
    readonly mint?: string;
  };
};

/** One step of a token's mutation. */
export type Op = { readonly op: string } & Readonly<Record<string, unknown>>;

const file = new URL('./attack-cases.json', import.meta.url);

/** All cases, in the order of the file. */
export const cases: readonly Case[] = (JSON.parse(readFileSync(file, 'utf8')) as { readonly cases: readonly Case[] })
  .cases;

/** Those of one level. */
export const casesOf = (level: Case['level']): readonly Case[] => cases.filter((one) => one.level === level);
