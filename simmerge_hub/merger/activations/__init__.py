"""Merges that look at what the models' layers are fed: running the models, and what it costs."""
