"""What the installed training libraries say about themselves; asked in a process of its own, for they are heavy."""
