// The Kubernetes manifests: valid by the schema of each kind, whole in what they refer to, and as closed as they say.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { root } from '../check/sources.ts';
import { type Labels, type Manifest, readKustomization, readManifests, schemaProblems } from './kubernetes.ts';
import { type Container, containersOf, fits, type PodSpec, workloadsOf } from './pods.ts';

const manifests = await readManifests();
const workloads = workloadsOf(manifests);
const named = (list: readonly Manifest[]) =>
  list.map((one) => [`${one.kind} ${one.metadata.namespace ?? ''}/${one.metadata.name}`, one] as const);
const ofKind = (kind: string) => manifests.filter((one) => one.kind === kind);
const pods = workloads.map((one) => [one.metadata.name, one.spec.template.spec] as const);
const containers = pods.flatMap(([name, pod]) =>
  containersOf(pod).map((one) => [`${name}/${one.name}`, one, pod] as const),
);

describe('the schema of its kind', () => {
  test.each(named(manifests))('allows %s', async (_name, manifest) => {
    expect(await schemaProblems(manifest)).toEqual([]);
  });

  const spec = (change: object) => ({ ...workloads[0], spec: { ...workloads[0]?.spec, ...change } }) as Manifest;
  test.each([
    ['an unknown field', spec({ replicass: 1 }), /spec\.replicass is not known/],
    ['a field of the wrong type', spec({ replicas: '3' }), /replicas must be integer/],
    ['a missing field', spec({ selector: undefined }), /must have required property selector/],
    ['an unknown kind', { ...workloads[0], kind: 'Deploymint' } as Manifest, /there is no Deploymint/],
  ])('refuses %s', async (_name, manifest, problem) => {
    expect((await schemaProblems(manifest)).join()).toMatch(problem);
  });
});

describe('what is referred to is there', () => {
  test.each(workloads.map((one) => [one.metadata.name, one] as const))('labels of %s', (_name, { spec, metadata }) => {
    const labels = spec.template.metadata.labels;
    expect(fits(spec.selector.matchLabels, labels)).toBe(true);
    const inNamespace = (kind: string) =>
      ofKind(kind).filter((one) => one.metadata.namespace === metadata.namespace) as Selecting[];
    const selects = (kind: string, selector: (one: Selecting) => Labels) =>
      inNamespace(kind).filter((one) => fits(selector(one), labels)).length;
    expect(selects('Service', (one) => one.spec.selector as Labels)).toBeGreaterThan(0);
    expect(selects('PodDisruptionBudget', (one) => (one.spec.selector as MatchLabels).matchLabels)).toBe(1);
    expect(selects('NetworkPolicy', (one) => one.spec.podSelector?.matchLabels ?? {})).toBe(2);
    expect(spec.serviceName === undefined || inNamespace('Service').some(isNamed(spec.serviceName))).toBe(true);
    expect(
      inNamespace('ServiceAccount').filter(isNamed(spec.template.spec.serviceAccountName)).map(withoutToken),
    ).toEqual([false]);
  });

  test.each(named(ofKind('Service')))('the pods and ports of %s', (_name, manifest) => {
    const { spec, metadata } = manifest as Selecting;
    const selected = workloads.filter(
      (one) =>
        one.metadata.namespace === metadata.namespace &&
        fits(spec.selector as Labels, one.spec.template.metadata.labels),
    );
    const ports = selected.flatMap((one) => one.spec.template.spec.containers.flatMap(portNames));
    expect(selected).toHaveLength(1);
    expect(ports).toEqual(expect.arrayContaining((spec.ports ?? []).map(({ targetPort }) => targetPort)));
  });

  test.each(workloads.map((one) => [one.metadata.name, one] as const))('volumes of %s', (_name, { spec }) => {
    const pod = spec.template.spec;
    const claims = (spec.volumeClaimTemplates ?? []).map(({ metadata }) => metadata.name);
    const there = [...claims, ...pod.volumes.map(({ name }) => name)];
    const mounted = new Set(containersOf(pod).flatMap(({ volumeMounts = [] }) => volumeMounts.map(({ name }) => name)));
    expect([...mounted].sort()).toEqual([...new Set(there)].sort());
  });

  test('secrets and other files that the operator brings are in the guide', async () => {
    const guide = await readFile(join(root, 'docs', 'operations.md'), 'utf8');
    const own = ofKind('ConfigMap').map(({ metadata }) => metadata.name);
    const brought = [...new Set(pods.flatMap(([, pod]) => referredTo(pod)))].filter((name) => !own.includes(name));
    expect(brought.length).toBeGreaterThan(4);
    expect(brought.filter((name) => !guide.includes(` ${name} `))).toEqual([]);
  });

  test('images are named in the kustomization, by a tag, and built by the Dockerfile', async () => {
    const { images } = await readKustomization();
    const dockerfile = await readFile(join(root, 'Dockerfile'), 'utf8');
    expect(new Set(images.map(({ name }) => name))).toEqual(new Set(containers.map(([, { image }]) => image)));
    for (const { name, newTag } of images) {
      expect(newTag).not.toBe('latest');
      expect(dockerfile).toMatch(new RegExp(` AS ${name.replace(/^daypass-/, '')}$`, 'm'));
    }
  });
});

describe('every container', () => {
  test.each(containers)('%s runs as nobody, changes nothing and gains nothing', (_name, container, pod) => {
    expect(pod).toMatchObject({
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
    });
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    expect(pod).not.toHaveProperty('hostNetwork');
  });

  test.each(containers)('%s has bounds', (_name, { resources }) => {
    expect(Object.keys(resources?.requests ?? {}).sort()).toEqual(['cpu', 'memory']);
    expect(Object.keys(resources?.limits ?? {}).sort()).toEqual(['cpu', 'memory']);
  });

  test.each(
    containers,
  )('%s gets secrets that it cannot change, and only its owner and group read', (_name, one, pod) => {
    const secrets = pod.volumes.filter(({ secret }) => secret !== undefined);
    expect(secrets.map(({ secret }) => secret?.defaultMode)).toEqual(secrets.map(() => 0o400));
    const mounts = (one.volumeMounts ?? []).filter(({ name }) => secrets.some((volume) => volume.name === name));
    expect(mounts.filter(({ readOnly }) => readOnly !== true)).toEqual([]);
  });
});

describe('every plane', () => {
  const planes = pods.flatMap(([name, pod]) => pod.containers.map((one) => [name, one, pod] as const));

  test.each(planes)('%s is asked at ports that it has, for what it answers', (_name, container) => {
    const { startupProbe, livenessProbe, readinessProbe } = container;
    const asked = [startupProbe, livenessProbe, readinessProbe].map((probe) => probe?.httpGet.path);
    expect(asked).toEqual(['/healthz', '/healthz', '/readyz']);
    const ports = [startupProbe, livenessProbe, readinessProbe].map((probe) => probe?.httpGet.port);
    expect(ports.filter((port) => !portNames(container).includes(port ?? ''))).toEqual([]);
  });

  test.each(planes)('%s is left alone until it has drained', (_name, { lifecycle }, pod) => {
    const HARD_STOP_SECONDS = 10;
    const before = lifecycle?.preStop?.sleep.seconds ?? 0;
    expect(before).toBeGreaterThan(0);
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThanOrEqual(before + HARD_STOP_SECONDS + 5);
  });

  test('no plane has what is the other’s: not a secret, a volume or a namespace', () => {
    const [control, data] = pods.map(([, pod]) => referredTo(pod));
    const keys = ['control-home', 'control-token-keys', 'control-snapshot-keys', 'control-tls'];
    expect(control).toEqual([...keys, 'control-plane', 'control-database']);
    expect(data?.filter((name) => control?.includes(name))).toEqual([]);
    expect(new Set(workloads.map(({ metadata }) => metadata.namespace)).size).toBe(workloads.length);
  });
});

describe('the network', () => {
  const policies = ofKind('NetworkPolicy') as readonly Policy[];
  const policyOf = (namespace: string, name: string) =>
    policies.find((one) => one.metadata.namespace === namespace && one.metadata.name === name)?.spec;

  test.each(
    ofKind('Namespace').map(({ metadata }) => metadata.name),
  )('is closed in %s but for what is said', (name) => {
    expect(policyOf(name, 'closed')).toEqual({ podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
    expect(ofKind('Namespace').find(isNamed(name))?.metadata.labels).toMatchObject({
      'pod-security.kubernetes.io/enforce': 'restricted',
    });
  });

  test('the control plane reaches names and its database, nothing else', () => {
    const { egress = [] } = policyOf('daypass-control', 'control-plane') ?? {};
    expect(egress.flatMap(({ ports }) => ports.map(({ port }) => port))).toEqual([53, 53, 5432]);
    expect(JSON.stringify(egress)).not.toContain('ipBlock');
  });

  test('anybody reaches the data plane, and only those who read metrics its admin port', () => {
    const { ingress = [] } = policyOf('daypass-data', 'data-plane') ?? {};
    const open = ingress.filter(({ from }) => from === undefined).flatMap(({ ports }) => ports.map(({ port }) => port));
    expect(open).toEqual(['https']);
    const admin = ingress.filter(({ ports }) => ports.some(({ port }) => port === 'admin'));
    expect(admin.map(({ from }) => from)).toEqual([
      [{ namespaceSelector: { matchLabels: { 'daypass-metrics': 'true' } } }],
    ]);
  });

  test('the data plane reaches no private address but names and the control plane', () => {
    const { egress = [] } = policyOf('daypass-data', 'data-plane') ?? {};
    const blocks = egress.flatMap(({ to }) => to.flatMap(({ ipBlock }) => (ipBlock === undefined ? [] : [ipBlock])));
    expect(blocks.map(({ cidr }) => cidr)).toEqual(['0.0.0.0/0', '::/0']);
    const priv = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16', '100.64.0.0/10', '127.0.0.0/8'];
    expect(blocks[0]?.except).toEqual(expect.arrayContaining(priv));
    expect(blocks[1]?.except).toEqual(expect.arrayContaining(['fc00::/7', 'fe80::/10', '::1/128']));
    const pods = egress.flatMap(({ to }) =>
      to.flatMap(({ podSelector }) => (podSelector === undefined ? [] : [podSelector.matchLabels])),
    );
    expect(pods).toEqual([{ 'k8s-app': 'kube-dns' }, { 'app.kubernetes.io/name': 'daypass-control-plane' }]);
  });
});

type MatchLabels = { readonly matchLabels: Labels };
type Selecting = Manifest & {
  readonly spec: {
    readonly selector?: Labels | MatchLabels;
    readonly podSelector?: Partial<MatchLabels>;
    readonly ports?: readonly { readonly targetPort: string }[];
  };
};
type Peer = {
  readonly namespaceSelector?: MatchLabels;
  readonly podSelector?: MatchLabels;
  readonly ipBlock?: { readonly cidr: string; readonly except: readonly string[] };
};
type Ports = readonly { readonly port: string | number }[];
type Policy = Manifest & {
  readonly spec: {
    readonly ingress?: readonly { readonly from?: readonly Peer[]; readonly ports: Ports }[];
    readonly egress?: readonly { readonly to: readonly Peer[]; readonly ports: Ports }[];
  };
};

const isNamed = (name: string) => (one: Manifest) => one.metadata.name === name;

const withoutToken = (account: Manifest) =>
  (account as Manifest & { readonly automountServiceAccountToken?: boolean }).automountServiceAccountToken;

const portNames = ({ ports = [] }: Container) => ports.map(({ name }) => name);

/** The secrets and ConfigMaps that a pod reads. */
function referredTo(pod: PodSpec): readonly string[] {
  const volumes = pod.volumes.map(({ secret, configMap }) => secret?.secretName ?? configMap?.name);
  const variables = containersOf(pod).flatMap(({ env = [], envFrom = [] }) => [
    ...envFrom.map(({ configMapRef }) => configMapRef.name),
    ...env.map(({ valueFrom }) => valueFrom?.secretKeyRef?.name ?? valueFrom?.configMapKeyRef?.name),
  ]);
  return [...new Set([...volumes, ...variables])].filter((name) => name !== undefined);
}
