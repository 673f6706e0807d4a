"""The agent: a brain that chooses the next tool call, and the loop around it."""
