"""A trained detector as files that other programs run, and those files opened again."""
