#!/bin/sh
# From nothing to YOLO9000, as the paper goes: a classifier, a detector, then both kinds of data together.
#
#   scripts/classifier_to_yolo9000.sh COCO_DIR IMAGENET_DIR [RUNS_DIR]
#
# COCO_DIR holds annotations/ and the images in COCO's layout, IMAGENET_DIR holds train/ and val/ with a folder or a tar
# for each wnid. One tree of all labels serves every stage, and each stage starts from the checkpoint of the last:
#
#   RUNS_DIR/classifier  the image labels at 224 pixels, then at 448 (section 2, "High Resolution Classifier")
#   RUNS_DIR/detector    boxes alone: the backbone of the classifier; a passthrough, two more convolutions and a head
#                        start anew, with five priors clustered from the boxes
#   RUNS_DIR/yolo9000    boxes and image labels together: the whole detector, with its priors
#
# What a stage loaded, and what starts anew, is in the first lines that it prints. A stage that has ended is not run
# again; one that was stopped goes on. The defaults are the papers' schedule: days on a GPU.
#
# PYTHON names another interpreter. NET_OPTIONS are those of the net, for all stages; CLASSIFY_OPTIONS, DETECTOR_OPTIONS
# and JOINT_OPTIONS go into a stage each, and last, so they override what is written here.
set -eu

if [ "$#" -lt 2 ]; then
    sed -n '2,19s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
coco=$1
imagenet=$2
runs=${3:-runs/from_classifier}
python=${PYTHON:-python}
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"

mkdir -p "$runs"
tree=$runs/labels.json
if [ ! -e "$tree" ]; then
    classes=$imagenet
    if [ -d "$imagenet/train" ]; then classes=$imagenet/train; fi
    "$python" "$here/tools/build_wordtree.py" --coco --imagenet "$classes" --out "$tree"
fi

# stage NAME COMMAND OPTIONS..: a new run, or the rest of one that was stopped
stage() {
    name=$1
    command=$2
    shift 2
    if [ -e "$runs/$name.done" ]; then
        echo "$runs/$name: done before" >&2
        return
    fi
    if [ -e "$runs/$name/last.pt" ]; then
        "$python" -m "yolo9000.$command" --resume "$runs/$name"
    else
        "$python" -m "yolo9000.$command" "$@" --out "$runs/$name"
    fi
    touch "$runs/$name.done"
}

# shellcheck disable=SC2086
stage classifier classify --preset paper --imagenet "$imagenet" --tree "$tree" \
    ${NET_OPTIONS:-} ${CLASSIFY_OPTIONS:-}

detector="--passthrough --extra-convs 2 --priors 5"
# shellcheck disable=SC2086
stage detector train --preset paper --coco "$coco" --tree "$tree" --init "$runs/classifier" \
    $detector ${NET_OPTIONS:-} ${DETECTOR_OPTIONS:-}

# shellcheck disable=SC2086
stage yolo9000 train --preset paper --joint --coco "$coco" --imagenet "$imagenet" --tree "$tree" \
    --init "$runs/detector" $detector ${NET_OPTIONS:-} ${JOINT_OPTIONS:-}

"$python" -m yolo9000.evaluate "$runs/yolo9000" --overwrite
