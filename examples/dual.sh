#!/bin/sh
# Keep the centre of large photos in full detail inside small versions of them.
#
# Writes FOLDER/PHOTO.png, the PHOTO made ZOOM times smaller, and FOLDER/PHOTO-restored/ (the small
# photo and its centre, ZOOM times enlarged) for every photo.
#
# Use: examples/dual.sh FOLDER ZOOM PHOTO...
#
# A file that fails does not stop the others, but then the exit status is not 0.

set -u

if [ $# -lt 3 ]; then
    echo "use: $0 FOLDER ZOOM PHOTO..." >&2
    exit 2
fi
folder=$1
zoom=$2
shift 2

iicnet embed --task dual --zoom "$zoom" --out-dir "$folder" -- "$@"
status=$?
for photo in "$@"; do
    name=$(basename -- "$photo")
    png=$folder/${name%.*}.png
    [ -f "$png" ] || continue
    iicnet restore -- "$png" || status=$?
done
exit "$status"
