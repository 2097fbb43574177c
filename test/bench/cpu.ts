// Processor time of a process, and where a process runs.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { run } from '../kit/process.ts';

/** User and system time that a process has used, in microseconds, all threads; undefined where there is no /proc. */
export async function cpuMicros(pid: number): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  // proc(5): utime and stime are fields 14 and 15, in ticks of 1/100 s.
  return fields === undefined ? undefined : (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** Keeps a process, all its threads, on one processor; false where that cannot be done. */
export async function pin(pid: number, processor: number): Promise<boolean> {
  if (!existsSync('/usr/bin/taskset')) return false;
  return (await run('/usr/bin/taskset', ['-a', '-p', '-c', String(processor), String(pid)])).code === 0;
}
