#!/bin/sh
# What image labels teach on real photographs: scenes pasted from Tiny-ImageNet tiles, 38 classes with boxes, 19 without.
#
#   recipes/tile_scenes.sh TILES_DIR [RUNS_DIR] [SEED ...]
#
# TILES_DIR holds train/ and val/ (a tar for each wnid), boxes/ and split.json. For each seed (default: 0 1 2): a
# classification start, a base trained on boxes, and from that base two runs side by side, on boxes alone and jointly;
# both take the same steps and see the same number of images with boxes. Then both are scored on 1,000 scenes from held
# out tiles: RUNS_DIR/seedN/{detection_only,joint}/evaluation.json. About 10 minutes a seed on two cores;
# benchmarks/tile_scenes.md has the figures.
#
# PYTHON names another interpreter; CLASSIFICATION_STEPS, BASE_STEPS and STEPS shorten or lengthen the phases.
set -eu

if [ "$#" -lt 1 ]; then
    sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
tiles=$1
runs=${2:-runs/tile_scenes}
[ "$#" -ge 1 ] && shift
[ "$#" -ge 1 ] && shift
[ "$#" -ge 1 ] || set -- 0 1 2
python=${PYTHON:-python}
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"

train() {
    "$python" -m yolo9000.train --tiles "$tiles" --width 0.25 --classification-size 64 --detection-steps 0 \
        --threads 1 "$@"
}

for seed in "$@"; do
    run=$runs/seed$seed
    train --classification-steps "${CLASSIFICATION_STEPS:-3000}" --steps "${BASE_STEPS:-600}" \
        --workers 1 --seed "$seed" --out "$run/base"
    next="--classification-steps 0 --steps ${STEPS:-600} --init $run/base --tree $run/base/tree.json --seed $seed"
    # shellcheck disable=SC2086
    train $next --batch 32 --out "$run/detection_only" &
    # shellcheck disable=SC2086
    train $next --joint --batch 48 --ratio 1:2 --mosaic 0.7 --out "$run/joint"
    wait "$!"
    for variant in detection_only joint; do
        "$python" -m yolo9000.evaluate "$run/$variant" --images 1000
    done
done
