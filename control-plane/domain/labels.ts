// Which labels a caller may use, and whom it may speak for.
import { DaypassError } from '@daypass/core/errors';
import type { CallerActor } from './actor.ts';

/** A label and a subject, and the field that the subject came in. */
export type Labels = { readonly client: string; readonly subject: string; readonly subjectField: string };

/** @throws {DaypassError} `permission_denied` naming the field */
export const checkLabels = (caller: CallerActor, { client, subject, subjectField }: Labels): void => {
  const { clients, subjects } = caller;
  if (clients !== undefined && !clients.includes(client)) {
    throw refused('client', `\`${caller.name}\` may not use the label \`${client}\``, clients);
  }
  if (clients === undefined && subjects === undefined) return;
  const allowed = [...(clients ?? []), ...(subjects ?? [])];
  if (allowed.includes(subject)) return;
  throw refused(subjectField, `\`${caller.name}\` may not speak for \`${subject}\``, allowed);
};

const NAMED_MAX = 5;

const refused = (field: string, message: string, allowed: readonly string[]): DaypassError => {
  const named = allowed.slice(0, NAMED_MAX).map((one) => `\`${one}\``);
  const more = allowed.length > NAMED_MAX ? ', …' : '';
  const those = allowed.length === 0 ? 'there are none' : `those are ${named.join(', ')}${more}`;
  return new DaypassError('permission_denied', `${message}; ${those}`, { field });
};
