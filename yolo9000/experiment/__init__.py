"""A run as a value: its configuration, presets, data, phases, and how they are put together."""
