"""The contract that every detector fulfills, whatever its architecture."""
