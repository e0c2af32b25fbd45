"""Learning which arm to try next, from merges that somebody scores."""
