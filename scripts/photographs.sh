#!/bin/sh
# Do image labels teach classes without boxes on natural photographs? All runs of benchmarks/photographs.md.
#
#   scripts/photographs.sh PHOTOS_DIR TILES_DIR [RUNS_DIR] [SEED ...]
#
# PHOTOS_DIR and TILES_DIR are described in benchmarks/photographs_data.py, which makes RUNS_DIR/data of them. For each
# seed (default: 0) one classification start, which sees labels and no box; from it every variant for each choice of
# never-boxed classes: boxes alone, the fair rival, the best recipe, with the same steps and the same number of images
# with boxes a step; and the ceiling, which has all boxes. Each is scored on the held-out photographs:
# RUNS_DIR/CHOICE/seedN/VARIANT/evaluation.json. A run that has ended is not repeated, so a stopped benchmark goes on;
# other steps want another RUNS_DIR. `python -m benchmarks.photographs RUNS_DIR` prints the tables and draws the curves.
#
# PYTHON names another interpreter; JOBS (1) runs go side by side, on one thread each. START and STEPS lengthen or
# shorten the phases; with ONE_START=1 all seeds begin with the start of the first, so that they differ in what comes
# after it alone. IMAGES (1000) are scored at most. CHOICES (all A B C) and PARTS (best rival boxes_alone, and of
# single rival_mosaic unboxed exhaustive; leading is best and rival) leave the rest out. TUNING=1 trains and scores on parts of the training photographs,
# as choices were made. OPTIONS (--size 96) are given to every run, and START_OPTIONS to the start besides.
set -eu

if [ "$#" -lt 2 ]; then
    sed -n '2,18s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
python=${PYTHON:-python}
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
photos=$1
tiles=$2
runs=${3:-runs/photographs}
shift 2
[ "$#" -eq 0 ] || shift
[ "$#" -gt 0 ] || set -- 0
choices=${CHOICES:-all A B C}
parts=${PARTS:-leading boxes_alone}
case " $parts " in *" leading "*) parts="$parts best rival" ;; esac
tuning=${TUNING:+-tuning}
export PYTHON="$python" PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS=1
export TRAIN_OPTIONS="--preset small-photographs --classification-size 64 --threads 1 ${OPTIONS:---size 96}"
export EVALUATE_OPTIONS="--images ${IMAGES:-1000}"

data=$runs/data
if [ ! -e "$data/done" ]; then
    "$python" -m benchmarks.photographs_data "$photos" "$tiles" "$data"
    touch "$data/done"
fi

# Lines "RUN BOXED OPTION ..." -> runs, JOBS at a time.
run_all() {
    xargs -P "${JOBS:-1}" -L 1 sh "$here/scripts/one_run.sh"
}

wanted() { # PART
    case " $parts " in *" $1 "*) ;; *) return 1 ;; esac
}

one_start=${ONE_START:+$1}
for seed in ${one_start:-"$@"}; do
    echo "\"$runs/start/seed$seed\" none --imagenet \"$data/labels/start\" --tree \"$data/wordtree.json\" --seed $seed" \
        "--classification-steps ${START:-5000} --steps 0 --ema 0.998 --val-images 400 --evaluate-every 2500" \
        "${START_OPTIONS:-}"
done | run_all

all=${STEPS:-360}
first=$((all * 3 / 10))
even="--joint --batch 64 --ratio 1:1"
for seed in "$@"; do # a stopped benchmark has every choice with some seeds
    for choice in $choices; do
        to=$runs/$choice$tuning/seed$seed
        from="--coco \"$data/boxes/$choice$tuning\" --imagenet \"$data/labels/joint\" --tree \"$data/wordtree.json\" \
--init \"$runs/start/seed${one_start:-$seed}\" --classification-steps 0 --seed $seed --val-images 200 \
--evaluate-every $((all / 3))"
        if [ "$choice" = all ]; then
            echo "\"$to/all_boxes\" data $from --batch 32 --steps $all"
            continue
        fi
        if wanted best; then
            echo "\"$to/best\" data $from $even --steps $all"
        fi
        if wanted rival; then # boxes first and single images are its best mix on tiles
            echo "\"$to/paper_boxes_first\" data $from $even --recipe paper --mosaic 0" \
                "--detection-steps $first --steps $((all - first))"
        fi
        if wanted single; then # no mosaics of labelled photographs
            echo "\"$to/best_single\" data $from $even --mosaic 0 --steps $all"
        fi
        if wanted boxes_alone; then
            echo "\"$to/detection_only\" data $from --batch 32 --steps $all"
        fi
        if wanted rival_mosaic; then
            echo "\"$to/paper_boxes_first_mosaic\" data $from $even --recipe paper --mosaic 0.7" \
                "--detection-steps $first --steps $((all - first))"
        fi
        if wanted unboxed; then # boxes say "none of these" of never-boxed classes too, as in darknet
            echo "\"$to/unboxed_weight_1\" data $from $even --unboxed-weight 1 --steps $all"
        fi
        if wanted exhaustive; then # what is not labelled is background
            echo "\"$to/best_exhaustive\" data $from $even --exhaustive --steps $all"
        fi
    done
done | run_all
