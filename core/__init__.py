"""The research: events, state, agent, tools, training, evaluation, compute and the run host. No terminal here."""
