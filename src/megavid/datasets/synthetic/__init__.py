"""A video set made up so that single frames are ambiguous and their neighbours are not."""
