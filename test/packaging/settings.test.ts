// Every setting that a deployment gives to a plane is one that the plane reads, and takes.
import { describe, expect, test } from 'vitest';
import { parseConfig as parseControl } from '../../control-plane/config.ts';
import { parseConfig as parseData } from '../../data-plane/config.ts';
import { environmentOf as composed, readCompose } from './compose.ts';
import { readManifests } from './kubernetes.ts';
import { environmentOf as manifested, workloadsOf } from './pods.ts';

type Environment = Readonly<Record<string, string>>;
type Given = readonly [place: string, plane: string, env: Environment];

const compose = await readCompose();
const shell = { DAYPASS_POSTGRES_PASSWORD: '0123456789abcdef' };
const ofCompose = Object.entries(compose.services).flatMap(([name, service]): readonly Given[] => {
  const plane = service.build?.target ?? '';
  return plane.endsWith('-plane') ? [[`compose: ${name}`, plane, composed(service, shell)]] : [];
});

const manifests = await readManifests();
const ofKubernetes = workloadsOf(manifests).flatMap(({ metadata, spec }) =>
  spec.template.spec.containers.map((container): Given => {
    const env = manifested(container, manifests, () => 'postgres://daypass:secret@db.example:5432/daypass');
    return [`kubernetes: ${metadata.name}`, container.name, env];
  }),
);

/** Names that mean something to Node, not to the planes. */
const OF_NODE = new Set(['NODE_EXTRA_CA_CERTS']);

/** Names that a plane asks for, and what is wrong. */
function read(plane: string, env: Environment): { readonly asked: ReadonlySet<string>; readonly problem: string } {
  const asked = new Set<string>();
  const watched = new Proxy(env, {
    get(target, name) {
      if (typeof name === 'string') asked.add(name);
      return Reflect.get(target, name);
    },
  });
  try {
    (plane === 'control-plane' ? parseControl : parseData)(watched);
    return { asked, problem: '' };
  } catch (error) {
    return { asked, problem: String(error) };
  }
}

describe('settings', () => {
  test.each([...ofCompose, ...ofKubernetes])('of %s are known to the %s, and good', (_place, plane, env) => {
    const { asked, problem } = read(plane, env);
    expect(problem).toBe('');
    expect(Object.keys(env).filter((name) => !asked.has(name) && !OF_NODE.has(name))).toEqual([]);
  });

  test('are looked at in every plane that is deployed', () => {
    expect([...ofCompose, ...ofKubernetes].map(([place]) => place)).toEqual([
      'compose: control-plane',
      'compose: data-plane',
      ...[1, 2].map((i) => `compose: ha-control-plane-${i}`),
      ...[1, 2, 3].map((i) => `compose: ha-data-plane-${i}`),
      'kubernetes: control-plane',
      'kubernetes: data-plane',
    ]);
  });

  test('that are unknown or wrong would be found', () => {
    expect(read('data-plane', { DAYPASS_WORKERS: 'many' }).problem).toContain('DAYPASS_WORKERS');
    expect(read('data-plane', {}).asked.has('DAYPASS_WORKER')).toBe(false);
  });
});
