#!/bin/sh
# Compose cut-outs with one background, and keep the layers inside the composed pictures.
#
# Writes FOLDER/CUTOUT.png, the composed picture, and FOLDER/CUTOUT.ora with its layers, for every
# cut-out; all have the size of the background.
#
# Use: examples/layers.sh FOLDER BACKGROUND CUTOUT...
#
# A file that fails does not stop the others, but then the exit status is not 0.

set -u

if [ $# -lt 3 ]; then
    echo "use: $0 FOLDER BACKGROUND CUTOUT..." >&2
    exit 2
fi
folder=$1
background=$2
shift 2
mkdir -p -- "$folder" || exit 1

status=0
for cutout in "$@"; do
    name=$(basename -- "$cutout")
    png=$folder/${name%.*}.png
    iicnet embed --task layers -o "$png" -- "$cutout" "$background" \
        && iicnet restore -o "${png%.png}.ora" -- "$png" \
        || status=$?
done
exit "$status"
