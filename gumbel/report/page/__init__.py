"""The page: its sections and their templates."""
