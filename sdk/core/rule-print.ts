// Writes a rule in its one canonical form.

import type { Methods, Rule, Segment } from './rule.ts';

/** The canonical text of a rule: `parseRule` of it gives an equal rule. */
export const printRule = (rule: Rule): string => {
  switch (rule.kind) {
    case 'template':
      return `${printMethods(rule.methods)} /${rule.segments.map(printSegment).join('/')}`;
    case 'regex':
      return `${printMethods(rule.methods)} ~${rule.pattern}`;
    case 'scope':
      return `scope:${rule.name}`;
    default:
      return rule satisfies never;
  }
};

const printMethods = (methods: Methods): string => (methods === '*' ? '*' : methods.join(','));

const printSegment = (segment: Segment): string => {
  switch (segment.kind) {
    case 'literal':
      return segment.text;
    case 'name':
      return `{${segment.name}}`;
    case 'one':
      return '*';
    case 'rest':
      return '**';
    default:
      return segment satisfies never;
  }
};
