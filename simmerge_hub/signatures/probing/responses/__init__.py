"""What a model keeps of its own answers at parts of its delta."""
