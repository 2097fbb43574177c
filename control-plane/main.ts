// The control plane's process. This file is read by any Node: it says which one is needed before it loads the rest.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(`The control plane needs Node 22.19 or newer; this is ${process.versions.node}.\n`);
  process.exitCode = 2;
} else {
  const { run } = await import('./run.ts');
  await run(process.env);
}
