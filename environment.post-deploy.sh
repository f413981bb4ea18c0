#!/usr/bin/env bash
# Snakemake runs this in the environment that it made of environment.yml (--software-deployment-method conda).
set -euo pipefail
make install VENV="$CONDA_PREFIX"
