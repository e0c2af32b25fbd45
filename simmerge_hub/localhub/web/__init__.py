"""Pages for a browser: what `push` prints the address of. No script of anybody runs on them."""
