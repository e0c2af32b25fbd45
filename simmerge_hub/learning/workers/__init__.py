"""Where pieces of work are done: here, or on the nodes of a Ray cluster; the same functions."""
