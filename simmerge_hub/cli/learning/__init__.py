"""evaluate, learn, search, predictor, bandit: models and merges, measured and learned from."""
