"""Following a run: status in the terminal, the progress page, and the plan of a dry run."""
