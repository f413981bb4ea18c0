#!/usr/bin/env bash
# What only a GPU can prove, tried on this machine in under ten minutes; prints one table and writes gpu.json.
#
#   benchmarks/gpu.sh                    all steps
#   benchmarks/gpu.sh --only loss nccl   some of them
#   benchmarks/gpu.sh --small            on the CPU at small size, to try the script itself
#
# PYTHON names the interpreter (python3). It needs torch, mmcv with its operators, mmdet and mmengine, in any version that
# runs; data/mini of `make demo` in the current folder, or the packages that generate it. docs/gpu.md.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
exec "${PYTHON:-python3}" -m benchmarks.gpu "$@"
