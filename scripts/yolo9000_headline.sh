#!/usr/bin/env bash
# YOLO9000's headline: detect the 200 classes of ImageNet DET, 156 of which no box was ever seen of.
#
#   scripts/yolo9000_headline.sh COCO_DIR IMAGENET_DIR DET_DIR [RUN_DIR]
#
# COCO_DIR holds annotations/ and the images in COCO's layout. IMAGENET_DIR holds train/ (and val/) with a folder or a
# tar for each wnid: the 1,000 classes, or as many thousands as there are. DET_DIR is the folder ILSVRC of the detection
# challenge, with Annotations/DET/val and Data/DET/val. Builds one tree of all their classes, trains a classifier on the
# image labels and then jointly, and scores DET's validation images: all 200 classes, the 44 that COCO has boxes of and
# the 156 that it has none of. The paper reports 19.7 mAP on all and 16.0 on the 156, with 9,418 classes.
#
# The paper lists no 44 classes: imagenet_det_shared.json says which we count, and why. Without --boxed it is the 38
# whose node had boxes in training.
#
# PRESET is `paper` (3.7 million steps: weeks on a GPU); `photographs` is ours (200,000). PYTHON names another
# interpreter. Options of `python -m yolo9000.train` go into TRAIN_OPTIONS, of both evaluations into EVALUATE_OPTIONS.
# A run that was stopped goes on by the same command. It was only tried on small stand-ins of the three data sets.
set -euo pipefail

if [ "$#" -lt 3 ]; then
    sed -n '2,20s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
coco=$1
imagenet=$2
det=$3
run=${4:-runs/yolo9000_headline}
python=${PYTHON:-python}
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"

if [ -e "$run/last.pt" ]; then
    "$python" -m yolo9000.train --resume "$run"
else
    mkdir -p "$(dirname -- "$run")"
    classes=$imagenet
    if [ -d "$imagenet/train" ]; then classes=$imagenet/train; fi
    "$python" "$here/tools/build_wordtree.py" --coco --imagenet "$classes" --wnids "$here/scripts/imagenet_det.wnids" \
        --skip-unreachable --out "$run.tree.json" --force
    # shellcheck disable=SC2086
    "$python" -m yolo9000.train --preset "${PRESET:-paper}" --joint --priors yolo9000 \
        --coco "$coco" --imagenet "$imagenet" --tree "$run.tree.json" --out "$run" ${TRAIN_OPTIONS:-}
fi

# shellcheck disable=SC2086
"$python" -m yolo9000.evaluate "$run" --overwrite ${EVALUATE_OPTIONS:-}
# shellcheck disable=SC2086
"$python" -m yolo9000.evaluate "$run" --imagenet-det "$det" --split val --images 100000 \
    --map imagenet_det --boxed "$here/scripts/imagenet_det_shared.json" --out "$run/imagenet_det.json" \
    --overwrite ${EVALUATE_OPTIONS:-}
