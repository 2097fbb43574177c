// The pods that the Kubernetes manifests make, as far as the tests look at them.
import type { Labels, Manifest } from './kubernetes.ts';

export type Probe = { readonly httpGet: { readonly path: string; readonly port: string; readonly scheme?: string } };

export type Container = {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly EnvVar[];
  readonly envFrom?: readonly { readonly configMapRef: { readonly name: string } }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly lifecycle?: { readonly preStop?: { readonly sleep: { readonly seconds: number } } };
  readonly resources?: { readonly requests?: Labels; readonly limits?: Labels };
  readonly securityContext?: unknown;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string; readonly readOnly?: boolean }[];
};

export type EnvVar = {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly secretKeyRef?: { readonly name: string };
    readonly configMapKeyRef?: { readonly name: string; readonly key: string };
    readonly fieldRef?: unknown;
  };
};

export type Volume = {
  readonly name: string;
  readonly secret?: { readonly secretName: string; readonly defaultMode: number };
  readonly configMap?: { readonly name: string };
  readonly emptyDir?: unknown;
};

export type PodSpec = {
  readonly serviceAccountName: string;
  readonly automountServiceAccountToken: boolean;
  readonly terminationGracePeriodSeconds: number;
  readonly securityContext: unknown;
  readonly initContainers?: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly Volume[];
};

/** A Deployment or StatefulSet. */
export type Workload = Manifest & {
  readonly metadata: { readonly namespace: string };
  readonly spec: {
    readonly replicas: number;
    readonly selector: { readonly matchLabels: Labels };
    readonly template: { readonly metadata: { readonly labels: Labels }; readonly spec: PodSpec };
    readonly serviceName?: string;
    readonly volumeClaimTemplates?: readonly Manifest[];
  };
};

/** All that make pods. */
export const workloadsOf = (manifests: readonly Manifest[]): readonly Workload[] =>
  manifests.filter(({ kind }) => kind === 'Deployment' || kind === 'StatefulSet') as readonly Workload[];

/** All containers of a pod, those that come first too. */
export const containersOf = ({ initContainers = [], containers }: PodSpec): readonly Container[] => [
  ...initContainers,
  ...containers,
];

/** Whether labels have all that a selector asks for; an empty one takes everything. */
export const fits = (selector: Labels, labels: Labels): boolean =>
  Object.entries(selector).every(([name, value]) => labels[name] === value);

/** A container's environment, references to the ConfigMaps of the same manifests followed; what comes from elsewhere by `elsewhere`. */
export function environmentOf(
  { env = [], envFrom = [] }: Container,
  manifests: readonly Manifest[],
  elsewhere: (variable: EnvVar) => string,
): Readonly<Record<string, string>> {
  const configMap = (name: string) =>
    manifests.find((one) => one.kind === 'ConfigMap' && one.metadata.name === name)?.data ?? {};
  const read = (variable: EnvVar): string => {
    const reference = variable.valueFrom?.configMapKeyRef;
    if (reference === undefined) return variable.value ?? elsewhere(variable);
    return configMap(reference.name)[reference.key] ?? `no ${reference.key} in ${reference.name}`;
  };
  return Object.assign(
    {},
    ...envFrom.map(({ configMapRef }) => configMap(configMapRef.name)),
    Object.fromEntries(env.map((variable) => [variable.name, read(variable)])),
  );
}
