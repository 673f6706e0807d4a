"""The reproducibility pack: what led to a run's final model, in a folder that trains and measures it again with one command."""
