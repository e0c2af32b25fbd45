"""A plan in words: what to do, what to expect of it, how sure that is, and what to do next."""
