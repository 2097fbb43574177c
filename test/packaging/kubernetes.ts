// Reads the Kubernetes manifests, and holds each against the schema of its kind.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import { root } from '../check/sources.ts';

/** An object of Kubernetes, as far as the tests look at it. */
export type Manifest = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Labels };
  readonly spec?: unknown;
  readonly data?: Readonly<Record<string, string>>;
};
export type Labels = Readonly<Record<string, string>>;

export type Kustomization = {
  readonly resources: readonly string[];
  readonly images: readonly { readonly name: string; readonly newTag: string }[];
};

const folder = join(root, 'deploy', 'kubernetes');

/** The kustomization. */
export const readKustomization = async (): Promise<Kustomization> =>
  parse(await readFile(join(folder, 'kustomization.yaml'), 'utf8')) as Kustomization;

/** Every object of the kustomization's files. */
export async function readManifests(): Promise<readonly Manifest[]> {
  const { resources } = await readKustomization();
  const texts = await Promise.all(resources.map((file) => readFile(join(folder, file), 'utf8')));
  return texts.flatMap((text) => parseAllDocuments(text)).map((one) => one.toJS({ mapAsMap: false }) as Manifest);
}

/** What is wrong with an object by the schema of its kind, which names each field that it does not know, too. */
export async function schemaProblems(manifest: Manifest): Promise<readonly string[]> {
  const { apiVersion, kind } = manifest;
  // Its types need the DOM's; what is used of it is this small.
  const module = ['kubernetes-models', apiVersion].join('/');
  const models = (await import(/* @vite-ignore */ module)) as Readonly<Record<string, Model | undefined>>;
  const validate = models[kind]?.prototype.validate;
  if (validate === undefined) return [`there is no ${kind} in ${apiVersion}`];
  const read = new Set<string>();
  try {
    validate.call(recorded(manifest, kind, read));
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
  return fieldsOf(manifest, kind)
    .filter((path) => !read.has(path))
    .map((path) => `${path} is not known`);
}

type Model = { readonly prototype: { readonly validate: () => void } };

/** The compiled schemas let unknown fields pass, but they look at each field that they know: what is never read is unknown. */
function recorded(value: unknown, path: string, read: Set<string>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  return new Proxy(value, {
    get(target, key) {
      if (typeof key === 'string') read.add(`${path}.${key}`);
      return recorded(Reflect.get(target, key), `${path}.${String(key)}`, read);
    },
  });
}

function fieldsOf(value: unknown, path: string): readonly string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, one]) => [`${path}.${key}`, ...fieldsOf(one, `${path}.${key}`)]);
}
