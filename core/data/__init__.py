"""Data: open what is found, look hard at it, compare it with the evaluation, prepare it for training.

Light on purpose: DuckDB and the standard library. Nothing here imports torch or the datasets library, so it can run in
the run host's own process; large inputs go through `core.data.job` in a process of their own.
"""
