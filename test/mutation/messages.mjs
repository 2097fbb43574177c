// Leaves texts for people out of the mutants: no test pins their words, and what they quote is not a decision.
import { declareValuePlugin, PluginKind } from '@stryker-mutator/api/plugin';

// Two words and a blank. Codes, names and formats have none.
const PROSE = /[a-z,:] [a-z"$]/i;

const textOf = (node) => {
  if (node.type === 'StringLiteral') return node.value;
  return node.type === 'TemplateLiteral' ? node.quasis.map((quasi) => quasi.value.raw).join('$') : '';
};

export const strykerPlugins = [
  declareValuePlugin(PluginKind.Ignore, 'messages', {
    shouldIgnore: (path) => (PROSE.test(textOf(path.node)) ? 'a text for people' : undefined),
  }),
];
