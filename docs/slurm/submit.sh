#!/bin/bash
# Ten runs of one start, side by side, and when all have ended, one store of them all.
set -eu
here=$(dirname "$0")
array=$(sbatch --parsable --array="${TASKS:-1-10}" "$@" "$here/run.sbatch")
sbatch --parsable --dependency="afterok:$array" "$here/reconcile.sbatch"
