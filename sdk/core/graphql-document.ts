// Reads an executable GraphQL document (October 2021, §2.2–2.12) as far as it decides what is asked of the root.

import { GraphqlProblem, readTokens, type Spend, type Token } from './graphql-lexer.ts';

/** A value as it is written. */
export type Written =
  | { readonly kind: 'variable'; readonly name: string }
  | { readonly kind: 'number' | 'string'; readonly text: string }
  | { readonly kind: 'constant'; readonly value: boolean | null }
  | { readonly kind: 'block' }
  | { readonly kind: 'list'; readonly items: readonly Written[] }
  | { readonly kind: 'object'; readonly fields: ReadonlyMap<string, Written> };

export type Arguments = ReadonlyMap<string, Written>;

export type Selection =
  | { readonly kind: 'field'; readonly name: string; readonly args: Arguments; readonly isDirected: boolean }
  | { readonly kind: 'spread'; readonly name: string; readonly isDirected: boolean }
  | { readonly kind: 'inline'; readonly selections: readonly Selection[]; readonly isDirected: boolean };

/** A document with exactly one operation. */
export type Document = {
  readonly type: 'query' | 'mutation' | 'subscription';
  readonly name: string | undefined;
  /** Declared variables and their defaults. */
  readonly variables: ReadonlyMap<string, Written | undefined>;
  readonly isDirected: boolean;
  readonly selections: readonly Selection[];
  readonly fragments: ReadonlyMap<string, Fragment>;
};

export type Fragment = { readonly selections: readonly Selection[]; readonly isDirected: boolean };

/** @throws GraphqlProblem for anything but one operation and fragments, each named once */
export const readDocument = (source: string, spend?: Spend): Document =>
  new Parser(readTokens(source, spend)).document();

/** How deep selections and values may nest. */
const MAX_DEPTH = 64;

type Operation = Omit<Document, 'fragments'>;

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  document(): Document {
    let operation: Operation | undefined;
    const fragments = new Map<string, Fragment>();
    while (this.#next.kind !== 'end') {
      if (this.#takeName('fragment')) this.#fragment(fragments);
      else if (operation === undefined) operation = this.#operation();
      else throw new GraphqlProblem('more than one operation');
    }
    if (operation === undefined) throw new GraphqlProblem('no operation');
    return { ...operation, fragments };
  }

  #operation(): Operation {
    if (this.#isAt('{')) {
      const selections = this.#selections();
      return { type: 'query', name: undefined, variables: new Map(), isDirected: false, selections };
    }
    const type = this.#name();
    if (type !== 'query' && type !== 'mutation' && type !== 'subscription')
      throw new GraphqlProblem('not an operation');
    const name = this.#next.kind === 'name' ? this.#name() : undefined;
    const variables = this.#variables();
    const isDirected = this.#directives();
    return { type, name, variables, isDirected, selections: this.#selections() };
  }

  #fragment(fragments: Map<string, Fragment>): void {
    const name = this.#name();
    if (name === 'on' || fragments.has(name)) throw new GraphqlProblem('a fragment that cannot be told from another');
    if (!this.#takeName('on')) throw new GraphqlProblem('a fragment without a type');
    this.#name();
    const isDirected = this.#directives();
    fragments.set(name, { selections: this.#selections(), isDirected });
  }

  #variables(): ReadonlyMap<string, Written | undefined> {
    const variables = new Map<string, Written | undefined>();
    if (!this.#take('(')) return variables;
    do {
      this.#need('$');
      const name = this.#name();
      if (variables.has(name)) throw new GraphqlProblem('a variable declared twice');
      this.#need(':');
      this.#type();
      variables.set(name, this.#take('=') ? this.#value(true) : undefined);
      this.#directives(true);
    } while (!this.#take(')'));
    return variables;
  }

  #type(): void {
    this.#enter();
    if (this.#take('[')) {
      this.#type();
      this.#need(']');
    } else this.#name();
    this.#take('!');
    this.#depth -= 1;
  }

  #selections(): readonly Selection[] {
    this.#need('{');
    this.#enter();
    const selections: Selection[] = [];
    do selections.push(this.#take('...') ? this.#spread() : this.#field());
    while (!this.#take('}'));
    this.#depth -= 1;
    return selections;
  }

  #field(): Selection {
    const first = this.#name();
    const name = this.#take(':') ? this.#name() : first;
    const args = this.#arguments(false);
    const isDirected = this.#directives();
    if (this.#isAt('{')) this.#selections();
    return { kind: 'field', name, args, isDirected };
  }

  #spread(): Selection {
    const hasType = this.#takeName('on');
    if (!hasType && this.#next.kind === 'name') {
      const name = this.#name();
      return { kind: 'spread', name, isDirected: this.#directives() };
    }
    if (hasType) this.#name();
    const isDirected = this.#directives();
    return { kind: 'inline', selections: this.#selections(), isDirected };
  }

  #arguments(isConstant: boolean): Arguments {
    const args = new Map<string, Written>();
    if (!this.#take('(')) return args;
    do this.#member(args, isConstant);
    while (!this.#take(')'));
    return args;
  }

  #member(members: Map<string, Written>, isConstant: boolean): void {
    const name = this.#name();
    if (members.has(name)) throw new GraphqlProblem('an argument or field given twice');
    this.#need(':');
    members.set(name, this.#value(isConstant));
  }

  /** Whether there are any. */
  #directives(isConstant = false): boolean {
    let any = false;
    while (this.#take('@')) {
      any = true;
      this.#name();
      this.#arguments(isConstant);
    }
    return any;
  }

  #value(isConstant: boolean): Written {
    this.#enter();
    const value = this.#plainValue(isConstant);
    this.#depth -= 1;
    return value;
  }

  #plainValue(isConstant: boolean): Written {
    if (!isConstant && this.#take('$')) return { kind: 'variable', name: this.#name() };
    if (this.#take('[')) {
      const items: Written[] = [];
      while (!this.#take(']')) items.push(this.#value(isConstant));
      return { kind: 'list', items };
    }
    if (this.#take('{')) {
      const fields = new Map<string, Written>();
      while (!this.#take('}')) this.#member(fields, isConstant);
      return { kind: 'object', fields };
    }
    const token = this.#next;
    this.#at += 1;
    switch (token.kind) {
      case 'number':
      case 'string':
        return { kind: token.kind, text: token.text };
      case 'block':
        return { kind: 'block' };
      case 'name':
        return named(token.text);
      case 'punctuator':
      case 'end':
        throw new GraphqlProblem('a value is missing');
      default:
        return token satisfies never;
    }
  }

  get #next(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end' };
  }

  #isAt(punctuator: string): boolean {
    const next = this.#next;
    return next.kind === 'punctuator' && next.text === punctuator;
  }

  #take(punctuator: string): boolean {
    if (!this.#isAt(punctuator)) return false;
    this.#at += 1;
    return true;
  }

  #need(punctuator: string): void {
    if (!this.#take(punctuator)) throw new GraphqlProblem(`${punctuator} is missing`);
  }

  #takeName(name: string): boolean {
    const next = this.#next;
    if (next.kind !== 'name' || next.text !== name) return false;
    this.#at += 1;
    return true;
  }

  #name(): string {
    const next = this.#next;
    if (next.kind !== 'name') throw new GraphqlProblem('a name is missing');
    this.#at += 1;
    return next.text;
  }

  #enter(): void {
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw new GraphqlProblem('nested too deep');
  }
}

// An enum value is a text to conditions: it is what a variable of the same type holds.
const named = (name: string): Written => {
  if (name === 'true' || name === 'false') return { kind: 'constant', value: name === 'true' };
  return name === 'null' ? { kind: 'constant', value: null } : { kind: 'string', text: name };
};
