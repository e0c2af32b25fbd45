"""A trained selector: features in, a ranking with intervals and reasons out."""
