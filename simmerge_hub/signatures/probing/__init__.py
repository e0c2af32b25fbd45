"""A model run over probes, and what is kept of it."""
