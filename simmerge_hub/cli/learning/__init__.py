"""evaluate, predictor: your own models, measured and learned from."""
