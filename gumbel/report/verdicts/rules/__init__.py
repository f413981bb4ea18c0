"""The kinds of rule that decide claims: every subclass of ``Claim`` in a module of this package."""
