"""A run as a file that needs no `intern` to be looked at: a terminal recording, a web page."""
