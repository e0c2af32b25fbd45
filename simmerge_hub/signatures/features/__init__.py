"""Two signatures -> named numbers."""
