// Walks through a list that comes in pages.

const PAGE_SIZE = 500;

/** A page of a list. */
export type Page<Item> = { readonly items: readonly Item[]; readonly nextPageToken: string };

/** All items, or the first `limit`, a page at a time. */
export async function* eachItem<Item>(
  fetchPage: (request: { pageSize: number; pageToken: string }) => Promise<Page<Item>>,
  limit = Number.POSITIVE_INFINITY,
): AsyncGenerator<Item> {
  let pageToken = '';
  let left = limit;
  while (left > 0) {
    const page = await fetchPage({ pageSize: Math.min(PAGE_SIZE, left), pageToken });
    for (const item of page.items) {
      if (left <= 0) return;
      left -= 1;
      yield item;
    }
    if (page.nextPageToken === '') return;
    pageToken = page.nextPageToken;
  }
}

/** All items as an array. */
export const collectItems = async <Item>(items: AsyncIterable<Item>): Promise<readonly Item[]> => {
  const all: Item[] = [];
  for await (const item of items) all.push(item);
  return all;
};
