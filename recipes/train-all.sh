#!/bin/sh
# Train every bundled checkpoint, one after the other, each for the minutes of its recipe.
#
# Use: recipes/train-all.sh OUTPUT PHOTOS CLIPS STEREO CUTOUTS
#
# NAME-start is where NAME goes on, deeper; stereo, dual and layers start from stego models. The
# bundled weights came about in more sittings than these lines; their cards tell.
#
# OUTPUT gets a model folder for each; the others are folders of photos, of clips, of pairs
# NAME_left and NAME_right, and of cut-outs with transparency. Interrupt it and start it again: it
# goes on where it was. On a machine with several cores, `--threads 1` and several of these lines at
# a time get more done.

set -eu

if [ $# -ne 5 ]; then
    echo "use: $0 OUTPUT PHOTOS CLIPS STEREO CUTOUTS" >&2
    exit 2
fi
output=$1 photos=$2 clips=$3 stereo=$4 cutouts=$5
recipes=$(dirname -- "$0")

# recipe NAME START DATA...: START is a model to start from, or "scratch".
recipe() {
    name=$1 start=$2
    shift 2
    [ -f "$output/$name/model.safetensors" ] && return
    if [ "$start" = scratch ]; then
        set -- --scratch "$@"
    else
        set -- --from "$output/$start" "$@"
    fi
    iicnet train --recipe "$recipes/$name.toml" -o "$output/$name" "$@"
}

recipe stego-2 scratch -d "$photos"
recipe stego-3-start scratch -d "$photos"
recipe stego-3 stego-3-start -d "$photos"
recipe stego-4 scratch -d "$photos"
recipe stego-5 scratch -d "$photos"
recipe video-5-start scratch -d "$clips" -d "$photos"
recipe video-5 video-5-start -d "$clips" -d "$photos"
recipe video-7 scratch -d "$clips" -d "$photos"
recipe video-9-start scratch -d "$clips" -d "$photos"
recipe video-9 video-9-start -d "$clips" -d "$photos"
recipe video-3-half scratch -d "$clips" -d "$photos"
recipe video-5-half scratch -d "$clips" -d "$photos"
recipe stereo stego-2 -d "$stereo" -d "$photos"
recipe dual stego-2 -d "$photos"
recipe layers-2 stego-2 -d "$cutouts" -d "$photos"
recipe layers-3 stego-3-start -d "$cutouts" -d "$photos"
recipe grayscale scratch -d "$photos"
recipe rescale scratch -d "$photos"
