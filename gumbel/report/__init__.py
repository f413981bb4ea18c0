"""Summary, claims, figures and the page."""
