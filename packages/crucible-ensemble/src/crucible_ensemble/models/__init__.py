"""Models: clients of providers, local weights, simulations, recordings."""
