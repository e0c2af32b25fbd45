"""The Hub's HTTP interface: one module for each group of routes, `exchange` and `access` below
them."""
