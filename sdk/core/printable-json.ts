// JSON that a terminal shows as it is: nothing in it moves the cursor, ends the line or turns the reading direction.

/** Delete, the C1 controls, line and paragraph separators, and the characters that turn text around. */
const UNSEEN = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** What stands in JSON as it is: nearly every member of a record, and told in a third of the time. */
const PLAIN = /^[ !#-[\]-~]*$/;

/** `JSON.stringify`, with those characters escaped that it leaves as they are; it reads back as the same value. */
export const printableJson = (value: unknown): string => {
  if (typeof value === 'string' && PLAIN.test(value)) return `"${value}"`;
  return JSON.stringify(value).replaceAll(UNSEEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
};
