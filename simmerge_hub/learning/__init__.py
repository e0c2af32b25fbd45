"""A catalogue of one's own: merges that are tried and evaluated, and what is learned from them."""
