"""One line per port: the type checker proves that the neighbour fits. Never executed."""
