"""The table of annotated videos, the index file that stores it, and the problems of a data set."""
