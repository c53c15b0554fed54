"""A whole network on this machine, for development: one process that runs all others, and says what they say."""
