#!/usr/bin/env bash
# Makes the weights that ship with the package from a run:
#
#   bash benchmarks/pretrained.sh NAME CHECKPOINT "WHAT IT WAS TRAINED ON" [results.json ...]
#
# They must have been trained on SyntheticFaces. The photographs of FER-2013 were collected from the web, and neither
# the data set nor its sources give a licence that surely allows passing on weights that were derived from them; faces
# that this package renders are its own. At most 8 MB: half precision.
set -euo pipefail
name=$1 checkpoint=$2 data=$3
shift 3
folder=src/pcfrl_lightning/pretrained/$name
rm -rf "$folder"
pcfrl export "$checkpoint" --half --out "$folder" --name "pretrained:$name" --license apache-2.0 \
  --data "$data" ${1:+--results "$@"}
size=$(du -sk "$folder" | cut -f1)
echo "$folder: $size KB"
test "$size" -le 8192
