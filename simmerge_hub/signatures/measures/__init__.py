"""What is measured between two models: angles, deltas, distributions."""
