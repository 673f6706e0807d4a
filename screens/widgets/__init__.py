"""The panes and bars, one a file."""
