"""Data looked through before a training: every file, every record, and what a training does about each flaw."""
