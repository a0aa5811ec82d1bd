"""The page and its HTTP interface: the tree to search and look at, and photos to try a trained detector on."""
