// What is mutated, and which tests each group of mutants is held against: quick ones that are about it, in one process.

/** Files that are mutated together, and the tests that decide on them. */
export type Group = { readonly mutate: readonly string[]; readonly tests: readonly string[] };

/** By name, in the order that they run in. */
export const groups: Readonly<Record<string, Group>> = {
  targets: {
    mutate: ['sdk/core/target.ts', 'sdk/core/ambiguity.ts', 'data-plane/wire.ts', 'data-plane/route.ts'],
    tests: ['test/core/target.test.ts', 'test/mutation/{target,wire}.test.ts', 'test/data-plane/encoded-slash.test.ts'],
  },
  claims: {
    mutate: [
      'sdk/core/token.ts',
      'sdk/core/token-claims.ts',
      'sdk/core/jws.ts',
      'data-plane/authenticate.ts',
      'data-plane/presented.ts',
    ],
    tests: [
      'test/core/{token,token-forgery}.test.ts',
      'test/mutation/{claims,wire,authenticate}.test.ts',
      'test/data-plane/{authenticate,dpop,replay}.test.ts',
    ],
  },
  scopes: {
    mutate: ['sdk/core/rule-{match,compile,index,condition}.ts'],
    tests: [
      'test/core/rule-{match,index,reference,condition,where,graphql,mcp}.test.ts',
      'test/mutation/scope.test.ts',
    ],
  },
  authorize: {
    mutate: ['data-plane/authorize.ts'],
    tests: ['test/data-plane/{authorize,body-rules}.test.ts', 'test/mutation/authorize.test.ts'],
  },
};

/** The group that `npm run mutate` is at. */
export const group = (): Group => {
  const found = groups[process.env.MUTATE_GROUP ?? 'targets'];
  if (found === undefined) throw new Error(`MUTATE_GROUP is one of ${Object.keys(groups).join(', ')}`);
  return found;
};
