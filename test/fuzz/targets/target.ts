// Fuzzes the reader of request targets: what it lets through has one reading, by regular expressions that are not its own.
import { parseTarget, type Target, targetUnder } from '@daypass/core/target';
import { type FuzzTarget, targetOf } from '../engine.ts';
import { must } from '../must.ts';

type Read = { readonly strict: Target | undefined; readonly slashes: Target };

const read = (raw: string): Read => {
  // Whatever a service opts in to, it lets more in, never less: the second reading throws where both refuse.
  let strict: Target | undefined;
  try {
    strict = parseTarget(raw);
  } catch {
    strict = undefined;
  }
  return { strict, slashes: parseTarget(raw, { encodedSlashes: true }) };
};

/** Each is something that no path may hold, whoever decodes it how often. */
const NEVER: readonly (readonly [string, RegExp])[] = [
  ['a character outside visible ASCII', /[^!-~]/],
  ['a character that no path has', /["#<>?[\\\]^`{|};]/],
  ['an empty segment', /\/\//],
  ['bad percent-encoding', /%(?![0-9A-Fa-f]{2})/],
  ['an encoded control character', /%(?:[01][0-9A-Fa-f]|7[fF])/],
  ['an encoded backslash or semicolon', /%(?:5[cC]|3[bB])/],
  ['an encoded dot or tilde', /%(?:2[eEdD]|7[eE]|5[fF])/],
  ['an encoded letter or digit', /%(?:3[0-9]|4[1-9A-Fa-f]|5[0-9Aa]|6[1-9A-Fa-f]|7[0-9Aa])/],
  ['double encoding', /%25(?:[0-9A-Fa-f]{2}|[uU][0-9A-Fa-f]{4})/],
  ['overlong or half UTF-8', /%(?:[cC][01]|[fF][5-9A-Fa-f])/],
];
const ENCODED_SLASH = /%2[fF]/g;
const CLIMBS = /^\.{1,2}$/;
// What some server takes off the ends of a segment, or does not see at all.
const UNSEEN = /[\p{White_Space}\p{Default_Ignorable_Code_Point}\p{Cc}+]/gu;
const TAKEN_FOR = /[/\\;%.]/;

const checkPath = (path: string): void => {
  must(path.startsWith('/'), 'no slash at the start');
  for (const [what, pattern] of NEVER) must(!pattern.test(path), what);
  // `decodeURIComponent` throws for what is not UTF-8, which is a find.
  for (const segment of path.slice(1).split('/')) checkSegment(segment, decodeURIComponent(segment));
  must(new URL(path, 'http://host').pathname === path, 'a URL parser changes the path');
};

const checkSegment = (raw: string, decoded: string): void => {
  for (const part of decoded.split('/')) {
    must(!CLIMBS.test(part.replaceAll(UNSEEN, '').normalize('NFKC')), 'a dot segment');
    must(part.trimEnd() === part, 'a space at the end of a segment');
  }
  if (raw === decoded) return;
  for (const character of decoded)
    must(
      character < '\u0080' || !TAKEN_FOR.test(character.normalize('NFKC')),
      `a character that becomes ${JSON.stringify(character.normalize('NFKC'))}`,
    );
};

const check = (raw: string, { strict, slashes }: Read): string => {
  const { path, query } = slashes;
  must(slashes.raw === raw && raw === path + (query === undefined ? '' : `?${query}`), 'other bytes than came');
  must(query === undefined || /^[!-~]*$/.test(query), 'a query that is not visible ASCII');
  must(query === undefined || !query.includes('#'), 'a fragment');
  checkPath(path);
  must(parseTarget(raw, { encodedSlashes: true }).path === path, 'another path the second time');
  const isSlashed = path.search(ENCODED_SLASH) >= 0;
  must(isSlashed === (strict === undefined), 'encoded slashes decide more than themselves');
  if (strict === undefined) {
    // With the slashes decoded it is a path like any other.
    must(parseTarget(path.replaceAll(ENCODED_SLASH, '/')).path !== '', 'not a path once decoded');
    return 'encoded slashes';
  }
  must(strict.path === path && strict.query === query, 'two readings');
  must(targetUnder(parseTarget(`/s/x${raw}`), '/s/x')?.raw === raw, 'another target under a prefix');
  return `${path.includes('%') ? 'encoded' : 'plain'} ${query === undefined ? '' : 'query'}`;
};

/** Request targets, with and without encoded slashes. */
export const target: FuzzTarget = targetOf<Read>({
  name: 'target',
  input: 'text',
  dictionary: [
    ...['/', '//', '/./', '/../', '..', '.', '%2e', '%2E%2e', '%2f', '%2F', '%5c', '\\', ';', '%3b', '%25', '%252e'],
    ...['%00', '%20', '+', '%0a', '%7f', '%u002e', '%c0%ae', '%e0%80%ae', '%ff', '%C3%A9', '%E2%80%8B', '%E2%80%A4'],
    ...['%EF%BC%8E', '%EF%BC%8F', '%E2%88%95', '%C2%A0', '%CD%BE', '%EF%BB%BF', '%F0%9F%98%80', '%ed%a0%80', '?', '#'],
    ...['@', ':', '//host', 'http://host/', '&', '=', '\u0000', '\u00e9', '\u2028', '\uff0e', '\ud800', ' ', '\t'],
  ],
  maxLength: 16_384,
  codes: ['target_ambiguous'],
  read,
  check,
});
