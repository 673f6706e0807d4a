"""A run's log as OpenTelemetry traces. Made from the log, when asked: nothing is sent while a run goes."""
