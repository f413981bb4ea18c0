"""Snakemake on a SLURM cluster: what jobs ask for, how they are submitted, and what became of them."""
