"""The table of annotated videos, its file, and the problems of a data set."""
