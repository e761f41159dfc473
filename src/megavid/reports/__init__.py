"""HTML pages and pictures of data sets and evaluations."""
