// How the programs of this folder are spoken to: one JSON object a line on standard input, `{id, do, …}`, and one a
// line on standard output, `{id, ok}` or `{id, error}`. They end when standard input does, so that a test that is
// killed leaves nothing behind.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

// Packages lie outside the tree: install.sh says where.
const packages = createRequire(`${process.env.PALISADE_NODE_PACKAGES}/`);

export const load = (name) => import(pathToFileURL(packages.resolve(name)));

export function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

// Answers each line by the handler that its `do` names; several may be under way at a time.
export async function serve(handlers) {
  const answer = async ({ id, do: what, ...given }) => {
    try {
      if (!Object.hasOwn(handlers, what)) throw new Error(`nothing is called ${what}`);
      say({ id, ok: (await handlers[what](given)) ?? null });
    } catch (error) {
      say({ id, error: String(error.message ?? error) });
    }
  };
  for await (const line of createInterface({ input: process.stdin })) {
    answer(JSON.parse(line));
  }
}
