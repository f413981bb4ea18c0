"""The content of the report for other tools."""
