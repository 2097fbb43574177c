// Folders, logs and whole chains for tests of the audit.
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AuditRecord, GENESIS, readChain } from '@daypass/core/audit';
import { onTestFinished } from 'vitest';
import { createLog, type Log } from '../../../data-plane/log.ts';

/** A folder that goes when the test ends. */
export function freshFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'daypass-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A log that remembers its lines. */
export function memoryLog(): { readonly log: Log; readonly lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  return { log: createLog('debug', (line) => lines.push(JSON.parse(line))), lines };
}

/** The raw lines of all segments in order. */
export function rawRecords(folder: string): readonly Uint8Array[] {
  const names = readdirSync(folder)
    .filter((name) => name.endsWith('.jsonl'))
    .sort();
  return names.flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n').slice(0, -1)).map(Buffer.from);
}

/** All records on disk; throws unless they are one chain of the node from `firstSeq` on. */
export function chainOn(folder: string, node = 'node-1', firstSeq = 1, prev = GENESIS): readonly AuditRecord[] {
  const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();
  return readChain(rawRecords(folder), { node, firstSeq, prev }, sha256).map(({ record }) => record);
}
