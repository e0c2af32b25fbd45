"""A zoo of a real language model: its base, what its specialists learn, and their training."""
