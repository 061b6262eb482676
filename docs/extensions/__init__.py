"""What coord's documentation needs beyond Sphinx: one thing a file, each derived from what it tells of."""
