// Asks the process with the bench's far ends to do a job.
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Load, Result } from './generate.ts';
import type { Bulk } from './jobs/bulk.ts';
import type { Events, EventTimes } from './jobs/events.ts';
import type { Hold } from './jobs/hold.ts';

type Jobs = {
  readonly paced: { readonly asked: Load; readonly result: Result };
  readonly bulk: { readonly asked: Bulk; readonly result: { readonly seconds: number } };
  readonly events: { readonly asked: Events; readonly result: EventTimes };
  readonly hold: { readonly asked: Hold; readonly result: { readonly open: number } };
  readonly letGo: { readonly asked: Record<never, never>; readonly result: { readonly open: number } };
};

/** Has a job done; `control` is the port where jobs are asked for. Throws what it threw. */
export async function ask<Name extends keyof Jobs>(
  control: number,
  job: Name,
  asked: Jobs[Name]['asked'],
): Promise<Jobs[Name]['result']> {
  const socket = connect(control, '127.0.0.1');
  socket.write(`${JSON.stringify({ job, asked })}\n`);
  const { result, error } = JSON.parse(await text(socket)) as { result: Jobs[Name]['result']; error?: string };
  if (error !== undefined) throw new Error(`${job}: ${error}`);
  return result;
}
