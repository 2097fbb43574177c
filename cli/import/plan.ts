// What an import would do: services to create, what the reader should know, and what is wrong with the file.
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Secret } from '@daypass/core/secret';
import type { CredentialPlace } from '@daypass/core/service';
import type { ServiceSchema } from '@daypass/sdk/gen/daypass/v1/service_pb';

/** A service to create. */
export type PlannedService = {
  readonly fields: MessageInitShape<typeof ServiceSchema> & { readonly name: string; readonly upstream: string };
  readonly place: CredentialPlace | undefined;
  /** Sealed at creation; never shown. */
  readonly secret: Secret | undefined;
};

/** Something to know. `path` is where in the file it comes from. */
export type Note =
  /** A rule that was carried over, as it was and as it is. */
  | { readonly kind: 'rule'; readonly path: string; readonly from: string; readonly to: string; readonly text: string }
  /** Carried over, but not quite the same. */
  | { readonly kind: 'changed'; readonly path: string; readonly text: string }
  /** Left behind. */
  | { readonly kind: 'not_imported'; readonly path: string; readonly text: string };

/** Something wrong with the file: nothing is imported. */
export type Problem = { readonly path: string; readonly text: string };

/** The whole plan. With problems, the services are not to be created. */
export type Plan = {
  readonly services: readonly PlannedService[];
  readonly notes: readonly Note[];
  readonly problems: readonly Problem[];
};

/** Collects notes and problems while a file is read. */
export type Findings = {
  readonly notes: Note[];
  readonly problems: Problem[];
  readonly problem: (path: string, text: string) => undefined;
  readonly changed: (path: string, text: string) => void;
  readonly notImported: (path: string, text: string) => void;
};

/** Empty findings. */
export const createFindings = (): Findings => {
  const notes: Note[] = [];
  const problems: Problem[] = [];
  return {
    notes,
    problems,
    problem: (path, text) => void problems.push({ path, text }),
    changed: (path, text) => void notes.push({ kind: 'changed', path, text }),
    notImported: (path, text) => void notes.push({ kind: 'not_imported', path, text }),
  };
};

/** A service name: 1 to 63 lower-case letters, digits and inner hyphens. */
export const isServiceName = (text: string): boolean => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text);

/** Reads an http(s) URL without user, query or fragment; notes the problem otherwise. */
export const readUpstreamUrl = (text: string, path: string, findings: Findings): string | undefined => {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    return findings.problem(path, `"${text}" is not an http or https URL`);
  if (url.username !== '' || url.password !== '')
    return findings.problem(path, 'holds a user or password: give it as the credential');
  if (url.search !== '' || url.hash !== '') return findings.problem(path, `"${text}" has a query or a fragment`);
  return url.origin + url.pathname.replace(/(?<!\/)\/+$/, '');
};
