"""Trying: merges that are made and run before one is chosen, and arms that a bandit wants tried."""
