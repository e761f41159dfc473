"""The table of annotated videos, its file, and what is wrong with a data set."""
