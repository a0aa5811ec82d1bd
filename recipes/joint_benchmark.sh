#!/bin/sh
# Which recipe teaches most from image labels? All runs of benchmarks/joint_training.md.
#
#   recipes/joint_benchmark.sh TILES_DIR [RUNS_DIR] [SEED ...]
#
# TILES_DIR holds train/ and val/ (a tar for each wnid), boxes/ and split.json. For each seed (default: 0 1 2) one
# classification start; from it a base on boxes alone, for the tiles' own split of boxed classes (A) and for another
# (B, recipes/tile_split_b.json); from that every variant with the same steps and the same number of images with boxes.
# Then the same on scenes of pictograms. Each variant is scored on 1,000 scenes that were held out:
# RUNS_DIR/DATA/seedN/VARIANT/evaluation.json. A run that has ended is not repeated, so a stopped benchmark goes on.
# `python -m benchmarks.joint_training RUNS_DIR` prints the tables and draws the curves.
#
# PYTHON names another interpreter; JOBS (2) runs go side by side, on one thread each. START, BASE and STEPS shorten or
# lengthen the phases; DATA="tiles_a" leaves the rest out.
set -eu

python=${PYTHON:-python}
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)

if [ "${1:-}" = --one ]; then # OUT EVALUATION OPTION ...: the script calls itself for one run; EVALUATION is yes or no
    out=$2
    evaluation=$3
    shift 3
    [ ! -e "$out/done" ] || exit 0
    rm -rf "$out"
    mkdir -p "$(dirname "$out")"
    echo "$out"
    {
        "$python" -m yolo9000.train --width 0.25 --detection-steps 0 --threads 1 --out "$out" "$@"
        [ "$evaluation" = no ] || "$python" -m yolo9000.evaluate "$out" --images 1000 $BOXED
    } > "$out.log" 2>&1 || {
        tail -n 5 "$out.log" >&2
        exit 255 # which stops xargs
    }
    touch "$out/done"
    exit 0
fi
if [ "$#" -lt 1 ]; then
    sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
tiles=$1
runs=${2:-runs/joint_benchmark}
shift
[ "$#" -eq 0 ] || shift
[ "$#" -gt 0 ] || set -- 0 1 2
base=${BASE:-900}
steps=${STEPS:-800}
# What the variants share besides the base: 32 images with boxes in a step and 16 labelled ones.
joint="--joint --batch 48 --ratio 1:2"
mixed="--mosaic 0.7"
export PYTHON="$python" PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS=1

# Reads lines "OUT EVALUATION OPTION ..." and does them, JOBS at a time.
run_all() {
    sed "s|^|\"$here/recipes/joint_benchmark.sh\" --one |" | xargs -P "${JOBS:-2}" -L 1 sh
}

# DATA SEED SOURCE BASE_RUN: every variant from one base.
variants() {
    to="$runs/$1/seed$2"
    from="$3 --classification-steps 0 --seed $2 --steps $steps --evaluate-every 200 --init $4 --tree $4/tree.json"
    cat << LINES
$to/detection_only yes $from --batch 32
$to/paper yes $from $joint --recipe paper --mosaic 0
$to/paper_mosaic yes $from $joint --recipe paper $mixed
$to/best yes $from $joint
$to/constant yes $from $joint --recipe constant $mixed
LINES
}
