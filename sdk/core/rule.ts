// What a scope rule is, once read: plain data.

/** The version of the scope language that a token states as `scope_version`. */
export const SCOPE_VERSION = 1;

/** The most characters of one rule text. */
export const MAX_RULE_CHARS = 4096;
/** The most rules of a list, named scopes included. */
export const MAX_RULES = 10_000;
/** The most `~` rules of a list. */
export const MAX_REGEX_RULES = 64;
/** The most characters of one `~` pattern. */
export const MAX_REGEX_CHARS = 512;

/** `*` is every method but those that are never forwarded; a list is sorted and names each method once. */
export type Methods = '*' | readonly string[];

/** One segment of a template: the text between two slashes. */
export type Segment =
  /** The raw text itself, byte for byte; empty only as the last segment. */
  | { readonly kind: 'literal'; readonly text: string }
  /** `{name}`: one non-empty segment. */
  | { readonly kind: 'name'; readonly name: string }
  /** `*`: one non-empty segment. */
  | { readonly kind: 'one' }
  /** `**`: all that follows the slash, nothing included. Only the last. */
  | { readonly kind: 'rest' };

/** `GET /repos/{owner}/**` */
export type TemplateRule = {
  readonly kind: 'template';
  readonly methods: Methods;
  /** At least one. */
  readonly segments: readonly Segment[];
};

/** `GET ~/repos/[^/]+`: RE2, matched against the whole path. */
export type RegexRule = { readonly kind: 'regex'; readonly methods: Methods; readonly pattern: string };

/** `scope:triage`: the service's named scope, as the newest snapshot has it. */
export type ScopeRule = { readonly kind: 'scope'; readonly name: string };

/** A rule of the scope language. */
export type Rule = TemplateRule | RegexRule | ScopeRule;
