// Tells the reader what an import did, or would do.
import { toJson } from '@bufbuild/protobuf';
import { type Service, ServiceSchema } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { printable } from '../output.ts';
import { placeFromMessage, placeText } from '../place.ts';
import type { Note } from './plan.ts';

/** What to tell. `dryRun`: nothing was created. */
export type ImportReport = {
  readonly services: readonly Service[];
  readonly notes: readonly Note[];
  readonly dryRun: boolean;
};

/** For people. */
export const reportText = ({ services, notes, dryRun }: ImportReport): string => {
  const created = services.map((service) => `${dryRun ? 'would create' : 'created'} ${serviceLine(service)}`);
  const of = (kind: Note['kind']) => notes.filter((note) => note.kind === kind);
  const rules = of('rule').map((note) =>
    note.kind === 'rule' ? `  ${note.path}: ${note.from}\n    -> ${note.to}` : '',
  );
  return [
    ...created,
    ...section(
      'Patterns are now matched whole, in the case they are written in, against the path as it is sent:',
      rules,
    ),
    ...section('Not quite as before:', of('changed').map(noteLine)),
    ...section('Not imported:', of('not_imported').map(noteLine)),
  ]
    .map((line) => `${line.split('\n').map(printable).join('\n')}\n`)
    .join('');
};

/** For programs: one object a line. */
export const reportJson = ({ services, notes, dryRun }: ImportReport): string =>
  [
    ...services.map((service) => ({
      kind: 'service',
      created: !dryRun,
      service: toJson(ServiceSchema, service, { alwaysEmitImplicit: true }),
    })),
    ...notes,
  ]
    .map((line) => `${JSON.stringify(line)}\n`)
    .join('');

const serviceLine = (service: Service): string => {
  const place = placeText(placeFromMessage(service.place));
  const scopes = Object.keys(service.scopes);
  const parts = [
    `${service.name} for ${service.upstream}`,
    place === '' ? 'no credential' : `credential ${place}`,
    ...(service.anonymous ? ['open to everybody'] : []),
    ...(service.clients === undefined ? [] : [`clients ${service.clients.labels.join(', ') || 'none'}`]),
    ...(scopes.length === 0 ? [] : [`scopes ${scopes.join(', ')}`]),
  ];
  return parts.join('; ');
};

const section = (heading: string, lines: readonly string[]): readonly string[] =>
  lines.length === 0 ? [] : ['', heading, ...lines];

const noteLine = (note: Note): string => `  ${note.path}: ${note.text}`;
