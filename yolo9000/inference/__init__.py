"""A trained detector at work: opened, carried over to another tree, prepared, asked about images, drawn, exported."""
