#!/bin/sh
# Put stereo pairs (MPO, JPS) into their left views, and make red-cyan anaglyphs of the restored pairs.
#
# Writes FOLDER/PAIR.png, FOLDER/PAIR-restored/ (left and right view) and FOLDER/PAIR-anaglyph.png
# for every pair.
#
# Use: examples/stereo.sh FOLDER PAIR...
#
# A file that fails does not stop the others, but then the exit status is not 0.

set -u

if [ $# -lt 2 ]; then
    echo "use: $0 FOLDER PAIR..." >&2
    exit 2
fi
folder=$1
shift

iicnet embed --task stereo --out-dir "$folder" -- "$@"
status=$?
for pair in "$@"; do
    name=$(basename -- "$pair")
    png=$folder/${name%.*}.png
    [ -f "$png" ] || continue
    iicnet restore -- "$png" || status=$?
    iicnet restore -q --layout anaglyph -o "${png%.png}-anaglyph.png" -- "$png" || status=$?
done
exit "$status"
