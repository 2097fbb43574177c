// Writes a rule in its one canonical form.

import type { Condition, Conditions, Methods, Rule, Segment, Step, Subject, Value } from './rule.ts';

/** The canonical text of a rule: `parseRule` of it gives an equal rule. */
export const printRule = (rule: Rule): string => {
  switch (rule.kind) {
    case 'template':
      return `${printMethods(rule.methods)} ${printTemplate(rule.segments)}${printConditions(rule.conditions)}`;
    case 'regex':
      return `${printMethods(rule.methods)} ~${rule.pattern}`;
    case 'scope':
      return `scope:${rule.name}`;
    case 'graphql': {
      const fields = rule.fields === '*' ? '*' : rule.fields.join(',');
      const operation = `${rule.batch ? 'batch ' : ''}${rule.operation} ${fields}`;
      return `graphql ${printTemplate(rule.segments)} ${operation}${printConditions(rule.conditions)}`;
    }
    case 'mcp': {
      const names = rule.names === undefined ? '' : ` ${rule.names.join(',')}`;
      const methods = `${rule.rpcMethods.join(',')}${names}`;
      return `mcp ${printTemplate(rule.segments)} ${methods}${printConditions(rule.conditions)}`;
    }
    case 'op':
      return `op:${rule.operation}${printConditions(rule.conditions)}`;
    default:
      return rule satisfies never;
  }
};

/** The canonical text of one condition. */
export const printCondition = ({ subject, test }: Condition): string => {
  switch (test.kind) {
    case 'absent':
      return `absent ${printSubject(subject)}`;
    case 'compare':
      return `${printSubject(subject)} ${test.operator} ${test.bound}`;
    case 'in': {
      const [first, ...others] = test.values.map(printValue);
      const list = others.length === 0 ? `= ${first}` : `in [${[first, ...others].join(', ')}]`;
      return `${printSubject(subject)} ${list}`;
    }
    default:
      return test satisfies never;
  }
};

const printConditions = (conditions: Conditions): string =>
  conditions.length === 0 ? '' : ` where ${conditions.map(printCondition).join(' and ')}`;

const printMethods = (methods: Methods): string => (methods === '*' ? '*' : methods.join(','));

const printTemplate = (segments: readonly Segment[]): string => `/${segments.map(printSegment).join('/')}`;

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

const printSubject = (subject: Subject): string =>
  subject.in + ('steps' in subject ? subject.steps.map(printStep).join('') : printMember(subject.name));

const printStep = (step: Step): string => (step.kind === 'each' ? '[*]' : printMember(step.name));

const printMember = (name: string): string =>
  /^[A-Za-z_$][A-Za-z0-9_$-]*$/.test(name) ? `.${name}` : `[${quote(name)}]`;

const printValue = (value: Value): string => {
  switch (value.kind) {
    case 'string':
      return quote(value.value);
    case 'number':
      return value.text;
    case 'boolean':
      return String(value.value);
    case 'null':
      return 'null';
    default:
      return value satisfies never;
  }
};

/** A JSON string in visible ASCII. */
const quote = (text: string): string =>
  JSON.stringify(text).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
