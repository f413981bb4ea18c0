"""What an experiment is: its configuration, its matrix of cells, and where its files lie."""
