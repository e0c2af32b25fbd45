"""A model read at parts of its delta: what of its own answers it keeps."""
