"""The experiment, from question to publishable answer: design, run, resume, analyse, report, `crucible` command."""
