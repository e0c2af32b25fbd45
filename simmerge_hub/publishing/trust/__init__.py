"""What a merge is, and whether it still is that: its record, its digests, itself made again."""
