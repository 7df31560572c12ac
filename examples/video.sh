#!/bin/sh
# Put clips into animated PNGs of a fifth of their frames, in batch.
#
# Use: examples/video.sh FOLDER CLIP...
#
# Writes FOLDER/CLIP.png (plays in any browser) and FOLDER/CLIP-restored.mkv (the clip restored from
# that PNG) for every clip. A CLIP may be a folder of frames.
#
# A clip that fails does not stop the others; the exit status is that of the first one that failed.

set -u

if [ $# -lt 2 ]; then
    echo "use: $0 FOLDER CLIP..." >&2
    exit 2
fi
folder=$1
shift
mkdir -p -- "$folder" || exit 1

# convert CLIP: embed, then restore what was embedded.
convert() {
    name=$(basename -- "$1")
    png=$folder/${name%.*}.png
    iicnet embed --task video -o "$png" -- "$1" || return
    iicnet restore -o "$folder/${name%.*}-restored.mkv" -- "$png"
}

status=0
for clip in "$@"; do
    convert "$clip" || {
        code=$?
        if [ "$status" -eq 0 ]; then status=$code; fi
    }
done
exit "$status"
