// Loaded before a child's own program: when the process that started it is gone, it is asked to stop.
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
