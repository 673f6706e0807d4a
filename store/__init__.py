"""The event log: append, read, subscribe, verify, export. It knows nothing of research."""
