"""Tables: networks that stand beside boosted trees, for columns of any kind."""
