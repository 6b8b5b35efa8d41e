"""Everything that answers is a Model, and many models are one: votes, executions, response matrix."""
