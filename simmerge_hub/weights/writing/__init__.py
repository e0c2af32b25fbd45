"""A model folder that is being written: its shards, and what of it is finished."""
