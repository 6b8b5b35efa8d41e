"""Where adapters are trained."""
