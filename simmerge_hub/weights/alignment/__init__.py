"""Which models can be merged, tensor by tensor, and why not."""
