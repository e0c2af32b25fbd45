"""What a merge would look like, by its parents' signatures."""
