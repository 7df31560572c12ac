#!/bin/sh
# Put colour photos into grey PNGs, and colour them again.
#
# Writes FOLDER/grey/PHOTO.png, a true grey PNG, and FOLDER/colour/PHOTO-restored.png for every photo.
#
# Use: examples/grayscale.sh FOLDER PHOTO...
#
# A file that fails does not stop the others, but then the exit status is not 0.

set -u

if [ $# -lt 2 ]; then
    echo "use: $0 FOLDER PHOTO..." >&2
    exit 2
fi
folder=$1
shift

iicnet embed --task grayscale --out-dir "$folder/grey" -- "$@"
embedded=$?
iicnet restore --out-dir "$folder/colour" -- "$folder"/grey/*.png || exit
exit "$embedded"
