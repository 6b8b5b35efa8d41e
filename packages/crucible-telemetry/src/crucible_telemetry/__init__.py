"""Lossless, isolated capture of everything that happens in an experiment: store, measure, export."""
