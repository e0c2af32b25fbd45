"""Many models: every pair from their signatures."""
