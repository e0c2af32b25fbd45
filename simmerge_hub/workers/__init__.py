"""Where pieces of work are done: in this process, or on the nodes of a Ray cluster.

The functions that do them are the same. Knows nothing of what the work is.
"""
