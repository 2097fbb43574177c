// Reads the parts of an OpenAPI document that rules depend on. A document is anybody's: nothing in it is taken for granted.

/** An object's own member; undefined where there is none, or where the value is no object. */
export const memberOf = (value: unknown, name: string): unknown =>
  isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;

/** Members by their names; none where the value is no object. */
export const membersOf = (value: unknown): readonly (readonly [string, unknown])[] =>
  isObject(value) ? Object.entries(value) : [];

/** Elements of an array; none where the value is something else. */
export const elementsOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** The text; empty where the value is something else. */
export const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Whether the value is an object and no array. */
export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** One reference may lead to another: this often. */
const MAX_REFERENCES = 8;

/**
 * What an object stands for: itself, or what its `$ref` names within the document (RFC 6901), the object's own members
 * laid over it. Undefined where that is not there, not in this document, or too far to follow.
 */
export const resolve = (document: unknown, value: unknown): Readonly<Record<string, unknown>> | undefined => {
  let own: Readonly<Record<string, unknown>> = {};
  let found = value;
  for (let steps = 0; steps <= MAX_REFERENCES; steps += 1) {
    if (!isObject(found)) return undefined;
    const { $ref: reference, ...rest } = found;
    own = { ...rest, ...own };
    if (!Object.hasOwn(found, '$ref')) return own;
    found = typeof reference === 'string' ? follow(document, reference) : undefined;
  }
  return undefined;
};

const follow = (document: unknown, reference: string): unknown => {
  if (!reference.startsWith('#/')) return undefined;
  let found = document;
  for (const step of reference.slice(2).split('/')) {
    const name = decode(step)?.replaceAll('~1', '/').replaceAll('~0', '~');
    if (name === undefined) return undefined;
    found = Array.isArray(found) && /^\d{1,9}$/.test(name) ? found[Number(name)] : memberOf(found, name);
  }
  return found;
};

const decode = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
};

/** URLs of servers (OpenAPI 3.0 §4.7.5) with the defaults of their variables, without a slash at the end. */
export const serverUrls = (servers: unknown): readonly string[] =>
  elementsOf(servers).map((server) => {
    const variables = memberOf(server, 'variables');
    const url = textOf(memberOf(server, 'url')).replace(/\{([^{}]*)\}/g, (all, name: string) => {
      const standard = memberOf(memberOf(variables, name), 'default');
      return typeof standard === 'string' ? standard : all;
    });
    return url.replace(/\/$/, '');
  });

/** The same of a Swagger 2.0 document. */
export const swaggerUrls = (document: unknown): readonly string[] => {
  const host = textOf(memberOf(document, 'host'));
  const path = textOf(memberOf(document, 'basePath')).replace(/\/$/, '');
  if (host === '') return [path];
  const schemes = elementsOf(memberOf(document, 'schemes')).map(textOf);
  return (schemes.length === 0 ? ['https'] : schemes).map((scheme) => `${scheme}://${host}${path}`);
};

const MAX_SUMMARY_CHARS = 200;

/** What an operation does, in one line of at most 200 characters. */
export const summaryOf = (operation: unknown): string => {
  const text = textOf(memberOf(operation, 'summary')) || textOf(memberOf(operation, 'description'));
  const line = text.slice(0, 4 * MAX_SUMMARY_CHARS).replace(/[\p{Cc}\p{Cs}\p{White_Space}]+/gu, ' ');
  const all = [...line.trim()];
  return all.length <= MAX_SUMMARY_CHARS ? all.join('') : `${all.slice(0, MAX_SUMMARY_CHARS - 1).join('')}…`;
};
