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

/** The most conditions of one rule. */
export const MAX_CONDITIONS = 32;

/** JSON-RPC methods whose `params.name` says what is called, with `params.arguments`. */
export const NAMED_METHODS: ReadonlySet<string> = new Set(['tools/call', 'prompts/get']);

/** Stands among the methods of an `mcp` rule for a message without one: an answer to a request of the server. */
export const RESPONSE = 'response';

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

/** A step into a JSON value: a member of an object, or every element of an array that has at least one. */
export type Step = { readonly kind: 'member'; readonly name: string } | { readonly kind: 'each' };

/**
 * What a condition speaks of. `path`, `query` and `header` are texts; `body` and `arg` are JSON values.
 * Within one rule no two conditions name one thing in two ways: query names are equal or of different
 * `queryFamily`, and no two members at one place are equal but for case.
 */
export type Subject =
  /** The raw segment that `{name}` of the rule's template stands for. Never `absent`. */
  | { readonly in: 'path'; readonly name: string }
  /** The one query pair whose key is of this name; text decoded. Not in `graphql` and `mcp` rules. */
  | { readonly in: 'query'; readonly name: string }
  /** The one header field of this lower-case name. */
  | { readonly in: 'header'; readonly name: string }
  /** Below the JSON body; at least one step. Not in `graphql` and `mcp` rules. */
  | { readonly in: 'body'; readonly steps: readonly Step[] }
  /** Below the arguments, in `graphql`, `mcp` and `op` rules; at least one step, the first a member. */
  | { readonly in: 'arg'; readonly steps: readonly Step[] };

/**
 * A literal. Of a text subject it is a string or a number; a text fits a number if it is written as a decimal
 * (`readDecimal`) of the same value. Of a JSON subject the value must be of the literal's own type.
 */
export type Value =
  | { readonly kind: 'string'; readonly value: string }
  /** Canonical decimal text, as `readDecimal` gives it. */
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'null' };

export type Operator = '>' | '>=' | '<' | '<=';

export type Test =
  /** One of the values; one alone is printed with `=`. Sorted by `compareValues`, each once, at least one. */
  | { readonly kind: 'in'; readonly values: readonly Value[] }
  /** A decimal on this side of the bound, which is canonical decimal text. */
  | { readonly kind: 'compare'; readonly operator: Operator; readonly bound: string }
  /**
   * No spelling of the subject occurs. The objects on the way to a member must be objects or be absent themselves; the
   * root (the body, the arguments) must be there. No `each` among the steps.
   */
  | { readonly kind: 'absent' };

/** Holds if the subject is there once, of the right type, and passes; or is absent, where that is the test. */
export type Condition = { readonly subject: Subject; readonly test: Test };

/** All of them must hold. Sorted by `compareConditions`, each once. One subject may have several. */
export type Conditions = readonly Condition[];

/** `GET /repos/{owner}/** where query.page <= 5` */
export type TemplateRule = {
  readonly kind: 'template';
  readonly methods: Methods;
  /** At least one. */
  readonly segments: readonly Segment[];
  readonly conditions: Conditions;
};

/** `GET ~/repos/[^/]+`: RE2, matched against the whole path. */
export type RegexRule = { readonly kind: 'regex'; readonly methods: Methods; readonly pattern: string };

/** `scope:triage`: the service's named scope, as the newest snapshot has it. */
export type ScopeRule = { readonly kind: 'scope'; readonly name: string };

/** `persisted` is a document that the request only names. */
export type GraphqlOperation = 'query' | 'mutation' | 'subscription' | 'persisted';

/**
 * `graphql /graphql query repository,viewer where arg.owner = "acme"`: a POST of one such operation, every root field
 * of which is listed and fulfils the conditions with its own arguments.
 */
export type GraphqlRule = {
  readonly kind: 'graphql';
  readonly segments: readonly Segment[];
  /** `graphql /graphql batch query …`: the operation may also come as a member of an array. */
  readonly batch: boolean;
  readonly operation: GraphqlOperation;
  /**
   * Root fields, sorted, each once, at least one; `*` is every one whose name does not begin with `__`. For
   * `persisted`: names of documents, never `*`; its conditions speak of the variables.
   */
  readonly fields: '*' | readonly string[];
  readonly conditions: Conditions;
};

/**
 * `mcp /mcp tools/call add_labels where arg.repo = "site"`: a POST of one such JSON-RPC 2.0 message, or of an array of
 * which each member is allowed by some rule.
 */
export type McpRule = {
  readonly kind: 'mcp';
  readonly segments: readonly Segment[];
  /** JSON-RPC methods and `RESPONSE`, sorted, each once, at least one. */
  readonly rpcMethods: readonly string[];
  /**
   * What `params.name` may be, sorted, each once, at least one; `undefined`: anything. Only if `rpcMethods` is
   * `tools/call` alone or `prompts/get` alone, whose arguments are `params.arguments`; of others they are `params`,
   * of an answer its `result`.
   */
  readonly names: readonly string[] | undefined;
  readonly conditions: Conditions;
};

/** `op:issues/add-labels where path.owner = "acme"`: for Mint to replace by other rules; by itself it allows nothing. */
export type OpRule = { readonly kind: 'op'; readonly operation: string; readonly conditions: Conditions };

/** A rule of the scope language. */
export type Rule = TemplateRule | RegexRule | ScopeRule | GraphqlRule | McpRule | OpRule;
