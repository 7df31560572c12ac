#!/bin/sh
# Put photos into PNGs of half their width and height, and bring them back to full size.
#
# Writes FOLDER/half/PHOTO.png and FOLDER/full/PHOTO-restored.png for every photo.
#
# Use: examples/rescale.sh FOLDER PHOTO...
#
# A file that fails does not stop the others, but then the exit status is not 0.

set -u

if [ $# -lt 2 ]; then
    echo "use: $0 FOLDER PHOTO..." >&2
    exit 2
fi
folder=$1
shift

iicnet embed --task rescale --out-dir "$folder/half" -- "$@"
embedded=$?
iicnet restore --out-dir "$folder/full" -- "$folder"/half/*.png || exit
exit "$embedded"
