"""Trackio beside a run: where its projects are kept, alerts of the run shown there, alerts from there in the run's log.

Light: the host reads Trackio's SQLite file itself and leaves every write to Trackio, in a process of its own
(`raise_alerts`). Jobs write their rows through `core.training.trackio_log`.
"""
