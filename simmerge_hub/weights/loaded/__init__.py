"""What transformers makes of a checkpoint: its parameters, for stored tensors of any spelling."""
