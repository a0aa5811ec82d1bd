#!/bin/sh
# Joint training on real images, small enough for two processor cores.
#
#   scripts/joint_small.sh COCO_DIR IMAGENET_DIR [RUN_DIR]
#
# COCO_DIR holds annotations/ and the images in COCO's layout, IMAGENET_DIR holds train/ and val/ with a folder or a tar
# for each wnid. Builds one tree of both data sets' labels, starts the backbone as a classifier, then trains jointly.
# `results.csv` has the loss held out of each source after 20 steps and at the end (columns held_out/detection and
# held_out/classification), AP50 and top-1; evaluate prints the final ones. benchmarks/ has figures and times.
#
# PYTHON names another interpreter. CLASSIFICATION_STEPS and STEPS shorten or lengthen the two phases; further options
# of `python -m yolo9000.train` go into TRAIN_OPTIONS.
set -eu

if [ "$#" -lt 2 ]; then
    sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
coco=$1
imagenet=$2
run=${3:-runs/joint_small}
python=${PYTHON:-python}
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"

if [ -e "$run/last.pt" ]; then
    echo "$run holds a run already; name another folder" >&2
    exit 2
fi
mkdir -p "$run"
classes=$imagenet
if [ -d "$imagenet/train" ]; then classes=$imagenet/train; fi
"$python" "$here/tools/build_wordtree.py" --coco --imagenet "$classes" --out "$run/labels.json" --force

# 96 px at stride 16 is a 6 x 6 grid; the width gives 1.6 M parameters.
# shellcheck disable=SC2086
"$python" -m yolo9000.train --joint \
    --coco "$coco" --imagenet "$imagenet" --tree "$run/labels.json" \
    --width 0.25 --stride 16 --size 96 --classification-size 64 --priors 5 --batch-norm-momentum 0.1 \
    --optimizer adamw --lr 0.002 --classification-lr 0.002 --weight-decay 0.02 --schedule cosine --burn-in 50 --ema 0.99 \
    --batch 32 --ratio 1:1 --mosaic 0.5 --recipe overlap \
    --classification-steps "${CLASSIFICATION_STEPS:-1000}" --detection-steps 0 --steps "${STEPS:-300}" \
    --evaluate-at 20 --evaluate-every 50 --val-images 300 --workers 1 --out "$run" ${TRAIN_OPTIONS:-}

"$python" -m yolo9000.evaluate "$run" --overwrite
