"""Other projects' networks, each in an environment of its own."""
