"""HTML pages and pictures made of data sets and evaluations."""
