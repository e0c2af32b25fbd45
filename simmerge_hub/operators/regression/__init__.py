"""Merges by regression: what layers are fed, known or estimated, decides how columns are mixed."""
