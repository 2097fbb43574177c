// Every reader of untrusted input that is fuzzed.
import type { FuzzTarget } from '../engine.ts';
import { graphql } from './graphql.ts';
import { json } from './json.ts';
import { rule } from './rule.ts';
import { sealed } from './seal.ts';
import { target } from './target.ts';
import { token } from './token.ts';
import { transport } from './transport.ts';

export const targets: readonly FuzzTarget[] = [target, rule, token, sealed, json, graphql, transport];
