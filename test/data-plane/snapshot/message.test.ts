// Messages are read where they lie as the library reads them, whatever is done to their bytes; lookups find what they hold.
import { create, toBinary } from '@bufbuild/protobuf';
import { DaypassError } from '@daypass/core/errors';
import type { EntryChange } from '@daypass/core/snapshot';
import { SnapshotDeltaSchema, SnapshotSchema } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Whole } from '../../../data-plane/snapshot/handover.ts';
import { changesIn, contentOf, lookUpWhole } from '../../../data-plane/snapshot/lookup.ts';
import { readDelta, readEntry, readSnapshot } from '../../../data-plane/snapshot/message.ts';
import { nextNumber } from './fleet.ts';

const bytes = fc.uint8Array({ maxLength: 300 });
const text = fc.string({ unit: 'grapheme', maxLength: 12 });
const entry = fc.record({ kind: fc.constantFrom('key', 'service', 'scope'), name: text, content: bytes });
const signed = { manifest: bytes, signature: bytes, key: fc.record({ statement: bytes, signature: bytes }) };
const shared = (from: Uint8Array): Buffer => {
  const buffer = Buffer.from(new SharedArrayBuffer(from.length));
  buffer.set(from);
  return buffer;
};
const plain = ({ kind, name, content }: { kind: string; name: string; content: Uint8Array }) => ({
  kind,
  name,
  content: [...content],
});

test('a snapshot and a delta read as the library reads them', () => {
  fc.assert(
    fc.property(fc.record({ ...signed, entries: fc.array(entry) }), (init) => {
      const message = shared(toBinary(SnapshotSchema, create(SnapshotSchema, init)));
      const { signed: read, places } = readSnapshot(message);
      expect([[...read.manifest], [...read.signature]]).toEqual([[...init.manifest], [...init.signature]]);
      expect([...places].map((at) => plain(readEntry(message, at)))).toEqual(init.entries.map(plain));
    }),
  );
  const removed = fc.array(fc.record({ kind: text, name: text }));
  fc.assert(
    fc.property(fc.record({ ...signed, changed: fc.array(entry), removed, baseDigest: fc.constant('ab') }), (init) => {
      const all = { ...init, baseVersion: 2n ** 40n };
      const read = readDelta(shared(toBinary(SnapshotDeltaSchema, create(SnapshotDeltaSchema, all))));
      expect(read.base).toEqual({ version: 2 ** 40, digest: 'ab' });
      expect(read.changed.map(plain)).toEqual(init.changed.map(plain));
      expect(read.removed).toEqual(init.removed);
    }),
  );
});

test('bytes of any kind are read, or refused by a code', () => {
  expect.hasAssertions();
  const honest = toBinary(
    SnapshotSchema,
    create(SnapshotSchema, {
      manifest: Uint8Array.of(1, 2, 3),
      key: { statement: Uint8Array.of(4) },
      entries: [{ kind: 'service', name: 'a', content: Uint8Array.of(5, 6) }],
    }),
  );
  const damaged = fc
    .array(fc.record({ at: fc.nat(honest.length - 1), byte: fc.nat(255) }), { minLength: 1, maxLength: 4 })
    .map((changes) => {
      const copy = Uint8Array.from(honest);
      for (const { at, byte } of changes) copy[at] = byte;
      return copy;
    });
  fc.assert(
    fc.property(fc.oneof(bytes, damaged), (given) => {
      const read = attempt(() => {
        const message = shared(given);
        const { places, signed: found } = readSnapshot(message);
        return [[...found.manifest], [...places].map((at) => plain(readEntry(message, at)))];
      });
      if (read instanceof Error) expect(read).toBeInstanceOf(DaypassError);
    }),
    { numRuns: 2_000 },
  );
});

test('a lookup finds what a whole snapshot and the deltas behind it hold, and the one before finds what it held', () => {
  const change = fc.record({
    kind: fc.constantFrom('key', 'scope', 'service'),
    name: fc.nat(20).map((at) => `n${at}`),
    content: fc.option(fc.nat(200), { nil: undefined }),
  });
  const rounds = fc.array(fc.uniqueArray(change, { maxLength: 10, selector: ({ kind, name }) => `${kind}/${name}` }), {
    maxLength: 12,
  });
  fc.assert(
    fc.property(rounds, ([first = [], ...later]) => {
      const model = new Map<string, number>();
      const apply = (changes: typeof first) => {
        for (const { kind, name, content } of changes)
          if (content === undefined) model.delete(`${kind}/${name}`);
          else model.set(`${kind}/${name}`, content);
        return new Map(model);
      };
      const started = apply(first);
      const segments = later.map((changes) => segmentOf(changes.map(encoded)));
      const whole = wholeOf(first.filter(({ content }) => content !== undefined).map(encoded));
      const states = [{ lookup: lookUpWhole(whole), model: started }];
      for (const [at, segment] of segments.entries()) {
        const lookup = states.at(-1)?.lookup.after(changesIn(segment)) ?? lookUpWhole(whole);
        states.push({ lookup, model: apply(later[at] ?? []) });
      }
      states.push({ lookup: lookUpWhole({ ...whole, deltas: segments }), model: new Map(model) });
      for (const { lookup, model: wanted } of states) {
        for (const kind of ['key', 'scope', 'service']) {
          for (let at = 0; at <= 20; at += 1) {
            const place = lookup.find(kind, `n${at}`);
            expect(place === undefined ? undefined : contentOf(place)[0]).toBe(wanted.get(`${kind}/n${at}`));
          }
          const found = lookup.ofKind(kind).map(({ name, place }) => [`${kind}/${name}`, contentOf(place)[0]]);
          expect(new Map(found as [string, number][])).toEqual(
            new Map([...wanted].filter(([key]) => key.startsWith(`${kind}/`))),
          );
        }
      }
    }),
    { numRuns: 60 },
  );
});

const encoded = ({
  kind,
  name,
  content,
}: {
  kind: string;
  name: string;
  content: number | undefined;
}): EntryChange => ({
  kind,
  name,
  content: content === undefined ? undefined : Uint8Array.of(content),
});

function attempt<T>(work: () => T): T | Error {
  try {
    return work();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

const present = (changes: readonly EntryChange[]) =>
  changes
    .flatMap(({ kind, name, content }) => (content === undefined ? [] : [{ kind, name, content }]))
    .sort((a, b) => (`${a.kind}/${a.name}` < `${b.kind}/${b.name}` ? -1 : 1));

const key = { statement: Uint8Array.of(1) };

function segmentOf(changes: readonly EntryChange[]) {
  const removed = changes.filter(({ content }) => content === undefined).map(({ kind, name }) => ({ kind, name }));
  const delta = create(SnapshotDeltaSchema, { key, changed: present(changes), removed });
  return { number: nextNumber(), bytes: shared(toBinary(SnapshotDeltaSchema, delta)) };
}

function wholeOf(changes: readonly EntryChange[]): Whole {
  const message = shared(toBinary(SnapshotSchema, create(SnapshotSchema, { key, entries: present(changes) })));
  const base = { number: nextNumber(), bytes: message, places: readSnapshot(message).places };
  return { head: {} as Whole['head'], base, deltas: [] };
}
