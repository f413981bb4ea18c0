"""Weight norms and the object distribution."""
