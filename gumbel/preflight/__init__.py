"""What can be found out before GPU hours are spent: ``python -m gumbel doctor``."""
