"""THE EVIDENCE: pay once per model, compare pairs in milliseconds."""
