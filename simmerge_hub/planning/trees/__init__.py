"""Merges of three models and more: trees, forecasts, search, trial."""
