// What the flat bench compares: the same request to fleets that hold a little and a lot of one thing.
import { PATH } from './subject.ts';

/** How much a fleet holds, and how much of it is asked for. */
export type Size = {
  readonly services: number;
  /** Live tokens; each service that is asked for has at least one. */
  readonly tokens: number;
  /** Services that tokens are for. */
  readonly servicesAsked: number;
  /** Rules of the named scope that a token names; 0: its own two rules. */
  readonly rules: number;
  readonly revoked: number;
};

/** One dimension: its title, and the sizes along it, the smallest first. */
export type Dimension = { readonly title: string; readonly sizes: readonly (readonly [string, Size])[] };

const ONE: Size = { services: 1, tokens: 1, servicesAsked: 1, rules: 0, revoked: 0 };
const MANY = 100_000;

const along = <K extends keyof Size>(
  name: K,
  counts: readonly number[],
  rest: Partial<Size> = {},
): Dimension['sizes'] =>
  counts.map((count) => [count.toLocaleString('en'), { ...ONE, ...rest, [name]: count }] as const);

/** The dimensions by their names. */
export const dimensions: Readonly<Record<string, Dimension>> = {
  services: { title: 'services, one of them asked', sizes: along('services', [1, MANY]) },
  'services-asked': {
    title: 'services, each asked in turn with a token of its own',
    sizes: [1, MANY].map((count) => [
      count.toLocaleString('en'),
      { ...ONE, services: count, tokens: count, servicesAsked: count },
    ]),
  },
  tokens: { title: 'live tokens in rotation', sizes: along('tokens', [1, MANY]) },
  rules: { title: 'rules of a named scope, paths all over it', sizes: along('rules', [1, 1000]) },
  revoked: { title: 'revoked tokens', sizes: along('revoked', [0, MANY], { tokens: 1000 }) },
};

/** Rule and path `i` of a named scope of `count` rules. */
export const ruleOf = (i: number): string => `GET /repos/o${i % 100}/{repo}/k${Math.floor(i / 100)}/*`;

/** The path of request `i`. */
export const pathOf = ({ rules }: Size, i: number): string => {
  const rule = rules === 0 ? 0 : i % rules;
  return rules === 0 ? PATH : `/repos/o${rule % 100}/site/k${Math.floor(rule / 100)}/7`;
};
