// Processor time and memory of a process, and where a process runs.
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { run } from '../kit/process.ts';

/** User and system time that a process has used, in microseconds, all threads; undefined where there is no /proc. */
export async function cpuMicros(pid: number): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  // proc(5): utime and stime are fields 14 and 15, in ticks of 1/100 s.
  return fields === undefined ? undefined : (Number(fields[11]) + Number(fields[12])) * 10_000;
}

/** Memory that a process holds, in MiB; undefined where there is no /proc. */
export const rssMiB = (pid: number): Promise<number | undefined> => memory(pid, 'VmRSS');

/** The most that it held since `resetPeak`, in MiB. */
export const peakMiB = (pid: number): Promise<number | undefined> => memory(pid, 'VmHWM');

/** Begins to look for the most anew; does nothing where there is no /proc. */
export async function resetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5').catch(() => undefined);
}

async function memory(pid: number, name: string): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => undefined);
  const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status ?? '')?.[1];
  return kib === undefined ? undefined : Number(kib) / 1024;
}

/** Keeps a process, all its threads, on one processor; false where that cannot be done. */
export async function pin(pid: number, processor: number): Promise<boolean> {
  if (!existsSync('/usr/bin/taskset')) return false;
  return (await run('/usr/bin/taskset', ['-a', '-p', '-c', String(processor), String(pid)])).code === 0;
}

/** Keeps the proxies on processor 1 and everything else on processor 0; false where that cannot be done. */
export async function spread(proxies: readonly number[], others: readonly number[]): Promise<boolean> {
  if (availableParallelism() < 2) return false;
  const pins = [...others.map((pid) => pin(pid, 0)), ...proxies.map((pid) => pin(pid, 1))];
  return (await Promise.all(pins)).every(Boolean);
}
