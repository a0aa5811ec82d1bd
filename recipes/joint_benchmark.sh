#!/bin/sh
# Which recipe teaches most from image labels? All of benchmarks/joint_training.md, run by run.
#
#   recipes/joint_benchmark.sh TILES_DIR [RUNS_DIR] [SEED ...]
#
# TILES_DIR holds train/ and val/ (a tar for each wnid), boxes/ and split.json; its own split is A, recipes/tile_split_b.json
# is B. For each seed (default: 0 1 2) one classification start; from it, for each split, a base on boxes alone; from that
# every recipe with the same steps and the same number of images with boxes. Then the same on scenes of pictograms.
# Each run is scored on 1,000 scenes from held-out tiles (pictograms: on the test scenes): RUN/evaluation.json. A run that
# has its figures is not repeated, so a stopped benchmark goes on. `python -m benchmarks.joint_training RUNS_DIR` prints
# the tables and draws the curves.
#
# PYTHON names another interpreter; JOBS (2) runs are side by side, on one thread each. START, BASE and STEPS shorten or
# lengthen the phases.
set -eu

if [ "$#" -lt 1 ]; then
    sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
python=${PYTHON:-python}
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS=1 PYTHON="$python"

if [ "$1" = run ]; then # one run: the script calls itself
    out=$2
    evaluation=$3
    shift 3
    [ -e "$out/done" ] && exit 0
    rm -rf "$out"
    echo "$out"
    "$python" -m yolo9000.train --width 0.25 --classification-size 64 --detection-steps 0 --threads 1 --out "$out" "$@" \
        2> "$out.log" || { tail -n 5 "$out.log" >&2; exit 255; }
    if [ "$evaluation" != - ]; then
        # shellcheck disable=SC2086
        "$python" -m yolo9000.evaluate "$out" --images 1000 $evaluation >> "$out.log" 2>&1 ||
            { tail -n 5 "$out.log" >&2; exit 255; }
    fi
    touch "$out/done"
    exit 0
fi

tiles=$1
runs=${2:-runs/joint_benchmark}
[ "$#" -ge 1 ] && shift
[ "$#" -ge 1 ] && shift
[ "$#" -ge 1 ] || set -- 0 1 2
start=${START:-8000}
base=${BASE:-900}
steps=${STEPS:-800}
mkdir -p "$runs"

# Lines "RUN EVALUATION OPTION ..." -> runs, JOBS at a time; EVALUATION is - for none, or options with commas for blanks.
side_by_side() {
    sed "s|^|$0 run |" | xargs -P "${JOBS:-2}" -L 1 sh
}

boxes_of() { # SPLIT -> the option that chooses its boxed classes
    [ "$1" = a ] || echo "--boxed $here/recipes/tile_split_$1.json"
}
