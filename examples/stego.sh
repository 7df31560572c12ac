#!/bin/sh
# Hide photos in photos, in batch.
#
# Use: examples/stego.sh FOLDER COVER HIDDEN HIDDEN [COVER HIDDEN HIDDEN]...
#
# Takes the photos three at a time, hides the second and the third in the first, and writes
# FOLDER/COVER.png, which looks like the cover, and FOLDER/COVER-restored/, the three photos restored
# from it. If two photos are left at the end, they are a cover and one hidden photo.
#
# A set that fails does not stop the others; the exit status is that of the first one that failed.

set -u

if [ $# -lt 3 ]; then
    echo "use: $0 FOLDER COVER HIDDEN HIDDEN [COVER HIDDEN HIDDEN]..." >&2
    exit 2
fi
folder=$1
shift
mkdir -p -- "$folder" || exit 1

status=0
failed() {
    if [ "$status" -eq 0 ]; then status=$1; fi
}

# hide COVER HIDDEN...: embed, then restore what was embedded.
hide() {
    name=$(basename -- "$1")
    png=$folder/${name%.*}.png
    iicnet embed --task stego -o "$png" -- "$@" || return
    iicnet restore -o "$folder/${name%.*}-restored" -- "$png"
}

while [ $# -ge 3 ]; do
    hide "$1" "$2" "$3" || failed $?
    shift 3
done
if [ $# -eq 2 ]; then
    hide "$1" "$2" || failed $?
elif [ $# -eq 1 ]; then
    echo "$0: nothing is left to hide in $1" >&2
    failed 2
fi
exit "$status"
