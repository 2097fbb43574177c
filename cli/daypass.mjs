#!/usr/bin/env node
// The `daypass` command: checks the Node version before anything that needs it is loaded.

const NEEDED = 24;

if (Number.parseInt(process.versions.node, 10) < NEEDED) {
  process.stderr.write(
    `Daypass needs Node ${NEEDED} or newer and this is Node ${process.versions.node}: inside the project ` +
      'run `npx daypass` or `npm start`, which bring the pinned Node 26; elsewhere install Node 26.\n',
  );
  process.exitCode = 2;
} else {
  const { run } = await import('./main.ts');
  const { processIo } = await import('./io.ts');
  process.exitCode = await run(process.argv.slice(2), processIo());
}
