// Loaded before a child's own program. Its standard input is a pipe that the parent holds open and never writes to:
// when that ends, the parent is gone, and the child is asked to stop.
process.stdin.once('end', () => process.kill(process.pid, 'SIGTERM'));
process.stdin.resume();
process.stdin.unref();
