#!/bin/sh
# The ladder from YOLO to YOLO9000 on photographs and on scenes of tiles: the runs behind benchmarks/ladder.md.
#
#   scripts/ladder.sh photos COCO_TRAIN COCO_VAL IMAGENET_DIR [RUNS_DIR]
#   scripts/ladder.sh tiles TILES_DIR [RUNS_DIR]
#
# COCO_TRAIN and COCO_VAL are annotation files in COCO's format; the images lie in images/train and images/val beside their
# folder, or in train and val. IMAGENET_DIR holds train/ and val/ with a folder or a tar for each wnid. TILES_DIR holds
# train/ and val/ (a tar for each wnid), boxes/ and split.json.
#
# Twelve rungs with SEEDS (3) seeds each, JOBS (2) side by side; RUNS_DIR/table.md, ladder.csv and ladder.png are what came
# of them. A ladder that was stopped goes on with the same command. PYTHON names another interpreter; further options of
# `python -m yolo9000.ladder` (such as "--rungs passthrough multi-scale") go into LADDER_OPTIONS.
set -eu

usage() {
    sed -n '2,15s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

python=${PYTHON:-python}
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"

case ${1:-} in
photos)
    [ "$#" -ge 4 ] || usage
    out=${5:-runs/ladder_photos}
    set -- --coco "$2" --val "$3" --imagenet "$4"
    ;;
tiles)
    [ "$#" -ge 2 ] || usage
    out=${3:-runs/ladder_tiles}
    set -- --tiles "$2"
    ;;
*) usage ;;
esac

# shellcheck disable=SC2086
exec "$python" -m yolo9000.ladder "$@" --preset small --out "$out" --seeds "${SEEDS:-3}" --jobs "${JOBS:-2}" \
    ${LADDER_OPTIONS:-}
