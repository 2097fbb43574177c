// Daypass' rows: each is a fleet of its own, so that no row warms, fills or wears out what another one uses.
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../kit/deadline.ts';
import { register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { daypassRows } from './daypass-rows.ts';
import { PREFIX, type Subject, tokenFile } from './subject.ts';

/** Where a fleet's requests go, where files go, and where it is kept to be stopped. */
export type DaypassSetting = { readonly upstream: string; readonly folder: string; readonly fleets: Fleet[] };

/** Starts a fleet for a row. */
export async function startDaypass(variant: string, setting: DaypassSetting): Promise<Subject> {
  const row = daypassRows[variant];
  if (row === undefined) throw new Error(`no such row: ${variant}`);
  const fleet = await startFleet({ env: { DAYPASS_LOG_LEVEL: 'warn', DAYPASS_WORKERS: '1', ...row.env } });
  setting.fleets.push(fleet);
  const upstream = `http://${setting.upstream}`;
  if (variant === 'daypass-sealed')
    await fleet.must(['service', 'create', 'bench', '--upstream', upstream, '--credential', 'bearer']);
  else await register(fleet, 'bench', upstream, 'real-credential');
  const asked = await row.prepare(fleet, setting.folder);
  const { tokens, body } = asked;
  const file = (list: readonly string[]) => tokenFile(setting.folder, variant, list);
  const fixed = typeof tokens === 'function' ? undefined : await file(tokens);
  return {
    variant,
    title: row.title,
    url: `${fleet.dataUrl}${PREFIX}${asked.path}`,
    pid: fleet.data.pid(),
    ...(body === undefined ? {} : { body }),
    tokens: async (seconds) => fixed ?? (await file(typeof tokens === 'function' ? tokens(seconds) : tokens)),
    settled: settled(fleet, asked.hitsAtMost ?? 1),
  };
}

/** Waits until the audit of the round before is uploaded; throws where its tokens were found in the cache too often. */
function settled({ adminUrl }: Fleet, hitsAtMost: number): () => Promise<void> {
  let before = { hit: 0, all: 0 };
  return async () => {
    const metrics = async () => (await fetch(`${adminUrl}/metrics`)).text();
    // Seldom: what the asking costs is counted, too.
    const uploaded = async () => {
      await pause(200);
      return /^daypass_audit_pending_records 0$/m.test(await metrics());
    };
    await until('the audit is uploaded', uploaded, 180_000);
    const text = await metrics();
    const lookups = (result: string) =>
      Number(new RegExp(`^daypass_token_lookups_total\\{result="${result}"\\} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
    const now = { hit: lookups('hit'), all: lookups('hit') + lookups('miss') };
    if (now.all === 0) throw new Error('no token was looked up');
    const share = (now.hit - before.hit) / Math.max(1, now.all - before.all);
    if (share > hitsAtMost) throw new Error(`${(share * 100).toFixed(1)} % of the new tokens were in the cache`);
    before = now;
  };
}
