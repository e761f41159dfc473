"""Network parts that know nothing of detection: residual trunks, relation modules."""
