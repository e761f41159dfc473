"""MOTChallenge."""
