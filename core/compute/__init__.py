"""Where jobs run: `submit / inspect / logs / cancel / find_by_effect` behind one protocol, local processes first."""
