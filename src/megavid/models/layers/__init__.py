"""Network parts that do not depend on detection, such as residual trunks and relation modules."""
