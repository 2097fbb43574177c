// What commands print: tables and lines for people, or one JSON object a line for programs.
import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import type { Failure } from './failure.ts';

/** A message by its proto3 JSON names, every field present, as one line. */
export const jsonLine = <Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): string =>
  `${JSON.stringify(toJson(schema, message, { alwaysEmitImplicit: true }))}\n`;

/** Rows under headings, columns padded to their widest cell. Nothing in a cell can steer a terminal. */
export const table = (headings: readonly string[], rows: readonly (readonly string[])[]): string => {
  const all = [headings, ...rows].map((row) => row.map(printable));
  const widths = headings.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row.map((cell, column) => cell.padEnd(column === row.length - 1 ? 0 : (widths[column] ?? 0))).join('  ');
  return all.map((row) => `${line(row).trimEnd()}\n`).join('');
};

/** `name  value` lines; empty values are left out. */
export const facts = (pairs: readonly (readonly [name: string, value: string])[]): string => {
  const shown = pairs.filter(([, value]) => value !== '');
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}\n`).join('');
};

/** A text without control characters, so that what a client sent cannot steer the terminal that shows it. */
export const printable = (text: string): string =>
  text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '\ufffd');

/** An error as one line for people, or as one JSON object. */
export const failureText = (failure: Failure, asJson: boolean): string => {
  const { code, message, field, notes = [] } = failure;
  const more = { ...(field === undefined ? {} : { field }), ...(notes.length === 0 ? {} : { notes }) };
  if (asJson) return `${JSON.stringify({ error: { code, message, ...more } })}\n`;
  const where = field === undefined || message.includes(field) ? '' : ` (${field})`;
  return `daypass: ${message.split('\n').map(printable).join('\n  ')}${where} [${code}]\n`;
};
