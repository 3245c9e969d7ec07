#!/bin/bash
# One run of iHarmony4's 7,404 test images in 8 shards on a Slurm cluster: an array, then a merge that waits for it.
#   experiments/scale/slurm.sh RUN_FOLDER OVERRIDE...
# Shards that were lost (preempted, timed out, killed) are restarted by the same command: only missing images are done.
set -euo pipefail
run=$(realpath -m "$1")
shift
shards=8
array=$(sbatch --parsable --array=0-$((shards - 1)) --requeue --gpus=1 --cpus-per-task=4 --mem=32G --time=12:00:00 \
    --output="$run/slurm-%A_%a.txt" \
    --wrap="diffharmon $(printf '%q ' "$@") shard=\$SLURM_ARRAY_TASK_ID/$shards hydra.run.dir=$(printf '%q' "$run")")
sbatch --dependency="afterany:$array" --cpus-per-task=1 --mem=8G --time=1:00:00 --output="$run/slurm-merge.txt" \
    --wrap="diffharmon $(printf '%q ' "$@") trainer=cpu hydra.run.dir=$(printf '%q' "$run") && diffharmon-report $(printf '%q' "$run")"
