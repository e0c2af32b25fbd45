"""How tensors are made: by whom, in which order, what is kept meanwhile, and where they go."""
