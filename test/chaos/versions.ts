// Watches the version of every node from the outside: it never goes back, over no restart, and one version is one content.
import { setTimeout as pause } from 'node:timers/promises';
import type { ControlClient } from './control-client.ts';
import type { KnownVersions } from './ledger.ts';
import type { Node } from './traffic.ts';

type Deps = {
  readonly nodes: readonly Node[];
  readonly control: ControlClient;
  readonly known: KnownVersions;
  readonly broken: (why: string, facts: unknown) => void;
};

/** How often nodes and reports were looked at. */
export type VersionWatch = { readonly looks: { nodes: number; reports: number }; stop(): Promise<void> };

const LOOK_MS = 200;
const REPORTS_MS = 1000;

/** Starts to watch. */
export function watchVersions({ nodes, control, known, broken }: Deps): VersionWatch {
  const looks = { nodes: 0, reports: 0 };
  const digests = new Map<string, string>();
  let going = true;

  const lookAt = async (node: Node): Promise<void> => {
    const least = known.of(node.name);
    const version = await versionOf(node).catch(() => undefined);
    // It is down, or its admin port is; the traffic says whether it may be.
    if (version === undefined) return;
    looks.nodes += 1;
    if (version < least) broken(`${node.name} has version ${version} after ${least}`, undefined);
    known.raise(node.name, version);
  };

  /** The nodes report what they have activated: two of one version have one digest. */
  const lookAtReports = async (): Promise<void> => {
    const { nodes: reports = [] } = (await control.call('NodeService/List', { pageSize: 100 })) as Reports;
    looks.reports += 1;
    for (const { name, version = '0', digest = '' } of reports) {
      const other = digests.get(version);
      if (digest !== '' && other !== undefined && other !== digest)
        broken(`version ${version} of ${name} has another digest than before`, { digest, other });
      digests.set(version, digest);
    }
  };

  const again = async (work: () => Promise<void>, everyMs: number): Promise<void> => {
    while (going) {
      await work();
      await pause(everyMs);
    }
  };
  const watches = [
    ...nodes.map((node) => again(() => lookAt(node), LOOK_MS)),
    again(lookAtReports, REPORTS_MS).catch((error: unknown) => broken(String(error), undefined)),
  ];
  return {
    looks,
    stop: async () => {
      going = false;
      await Promise.all(watches);
    },
  };
}

type Reports = {
  readonly nodes?: readonly { readonly name: string; readonly version?: string; readonly digest?: string }[];
};

/** The version that decides at a node now; 0: none. Throws when the node does not say. */
export async function versionOf({ adminOrigin }: Node): Promise<number> {
  const answer = await fetch(`${adminOrigin}/readyz`, { signal: AbortSignal.timeout(5000) });
  const { snapshot_version: version } = (await answer.json()) as { readonly snapshot_version: number };
  return version;
}
