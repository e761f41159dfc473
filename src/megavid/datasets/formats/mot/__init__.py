"""Read annotations in the format of MOTChallenge."""
