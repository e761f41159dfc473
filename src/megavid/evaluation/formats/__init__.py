"""Files of predictions, a module for each format."""
