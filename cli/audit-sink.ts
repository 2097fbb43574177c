// Writes audit events into folders: <dir>/<service>/<YYYY-MM-DD>/<HH-MM-SS>-<uuid>.json, one file an event.
import { createHash } from 'node:crypto';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toJson } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { type AuditEvent, AuditEventSchema } from '@daypass/sdk/gen/daypass/v1/audit_pb';

/** Writes an event's file; an event that comes again, now with its outcome, replaces its own file. */
export const writeEventFile = async (dir: string, event: AuditEvent): Promise<void> => {
  const path = eventPath(event);
  const folder = join(dir, path.service, path.day);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, path.file);
  const text = `${JSON.stringify(toJson(AuditEventSchema, event, { alwaysEmitImplicit: true }), undefined, 2)}\n`;
  await writeFile(`${file}.part`, text, { mode: 0o600 });
  await rename(`${file}.part`, file);
};

/** Where an event goes. No part of it is free text: neither a caller nor a control plane can choose a path. */
export const eventPath = (
  event: AuditEvent,
): { readonly service: string; readonly day: string; readonly file: string } => {
  const time = (event.time === undefined ? new Date(0) : timestampDate(event.time)).toISOString();
  return {
    service: /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(event.service) ? event.service : '_none',
    day: time.slice(0, 10),
    file: `${time.slice(11, 19).replaceAll(':', '-')}-${uuidOf(event)}.json`,
  };
};

/** The decision id where it is a UUID; otherwise one made of what identifies the event (RFC 9562 §5.8). */
const uuidOf = ({ decisionId, node, seq }: AuditEvent): string => {
  if (UUID.test(decisionId)) return decisionId.toLowerCase();
  const hash = createHash('sha256').update(`${decisionId}\n${node}\n${seq}`).digest('hex');
  const variant = ((Number.parseInt(hash.slice(16, 17), 16) & 3) | 8).toString(16);
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-${variant}${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
};

const UUID = /^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$/;
