#!/bin/sh
# Which recipe teaches most from image labels? All runs of benchmarks/joint_training.md.
#
#   scripts/joint_benchmark.sh TILES_DIR [RUNS_DIR] [SEED ...]
#
# TILES_DIR holds train/ and val/ (a tar for each wnid), boxes/ and split.json. For each seed (default: 0 1 2) one
# classification start; from it every variant, with the same steps and the same number of images with boxes: on scenes of
# tiles with the data's own split into boxed and never-boxed classes (tiles_a), with another (tiles_b,
# scripts/tile_split_b.json), and on scenes of pictograms. Each is scored on scenes that were held out:
# RUNS_DIR/DATA/seedN/VARIANT/evaluation.json. A run that has ended is not repeated, so a stopped benchmark goes on; other
# steps want another RUNS_DIR.
# `python -m benchmarks.joint_training RUNS_DIR` prints the tables and draws the curves.
#
# PYTHON names another interpreter; JOBS (2) runs go side by side, on one thread each. START and STEPS lengthen or shorten
# the phases; IMAGES (1000) are scored. DATA (tiles_a tiles_b pictograms) and PARTS (leading rival picks cluttered flat
# ablations; all but the first two are of tiles_a) leave the rest out; VARIANTS ("best paper_boxes_first") leaves out of
# these parts what it does not name.
set -eu

python=${PYTHON:-python}
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)

if [ "$#" -lt 1 ]; then
    sed -n '2,19s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
tiles=$1
runs=${2:-runs/joint_benchmark}
shift
[ "$#" -eq 0 ] || shift
[ "$#" -gt 0 ] || set -- 0 1 2
data=${DATA:-tiles_a tiles_b pictograms}
parts=${PARTS:-leading rival picks cluttered flat ablations}
export PYTHON="$python" PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS=1
export TRAIN_OPTIONS="--width 0.25 --classification-size 64 --threads 1" EVALUATE_OPTIONS="--images ${IMAGES:-1000}"

# Lines "RUN BOXED OPTION ..." -> runs, JOBS at a time.
run_all() {
    pattern=".*"
    [ -z "${VARIANTS:-}" ] || pattern="start|flat_start|$(echo "$VARIANTS" | tr ' ' '|')"
    grep -E "^\"[^\"]*/($pattern)\" " | xargs -P "${JOBS:-2}" -L 1 sh "$here/scripts/one_run.sh"
}

wanted() { # PART
    case " $parts " in *" $1 "*) ;; *) return 1 ;; esac
}

source_of() { # DATA
    [ "$1" = pictograms ] || echo "--tiles \"$tiles\""
}

start_of() { # DATA SEED; both splits of the tiles have one start, which sees no box
    echo "$runs/${1%_?}/seed$2/start"
}

for set in $data; do
    steps=10000
    [ "$set" != pictograms ] || steps=2400
    for seed in "$@"; do
        echo "\"$(start_of "$set" "$seed")\" none $(source_of "$set") --seed $seed --classification-steps ${START:-$steps} --steps 0"
    done
done | sort -u | run_all
case " $data " in
*" tiles_a "*) ;;
*) case " $parts " in *" rival "*) parts="leading rival" ;; *) parts=leading ;; esac ;;
esac
if wanted flat; then # the same without hypernyms: one softmax over all classes
    flat=$runs/flat.json
    [ -e "$flat" ] || "$python" "$here/tools/build_wordtree.py" --imagenet "$tiles/train" --flat --out "$flat" > /dev/null
    for seed in "$@"; do
        echo "\"$runs/tiles/seed$seed/flat_start\" none --tiles \"$tiles\" --tree \"$flat\" --seed $seed \
--classification-steps ${START:-10000} --steps 0"
    done | run_all
fi

# A step sees 32 images with boxes in each variant, and 32 labelled ones besides where image labels are used.
even="--joint --batch 64 --ratio 1:1"
for set in $data; do
    steps=1000
    [ "$set" != pictograms ] || steps=1200
    boxed=own
    [ "$set" != tiles_b ] || boxed="\"$here/scripts/tile_split_b.json\""
    for seed in "$@"; do
        start=$(start_of "$set" "$seed")
        to=$runs/$set/seed$seed
        from="$(source_of "$set") --seed $seed --init \"$start\" --tree \"$start/tree.json\" --classification-steps 0 \
--evaluate-every 200"
        all=${STEPS:-$steps}
        labels="$even --steps $all"
        if wanted leading; then
            cat << LINES
"$to/detection_only" $boxed $from --boxed $boxed --batch 32 --steps $all
"$to/all_boxes" $boxed $from --boxed all --batch 32 --steps $all
"$to/best" $boxed $from --boxed $boxed $labels
LINES
        fi
        if wanted rival; then # the fair reading of the paper, with every mix: the best of them is what ratios are to
            first=$((all * 3 / 10))
            then="--detection-steps $first --steps $((all - first))"
            cat << LINES
"$to/paper" $boxed $from --boxed $boxed $labels --recipe paper --mosaic 0
"$to/paper_mosaic" $boxed $from --boxed $boxed $labels --recipe paper --mosaic 0.7
"$to/paper_boxes_first" $boxed $from --boxed $boxed $even --recipe paper --mosaic 0 $then
"$to/paper_boxes_first_mosaic" $boxed $from --boxed $boxed $even --recipe paper --mosaic 0.7 $then
LINES
        fi
        [ "$set" = tiles_a ] || continue
        if wanted picks; then
            cat << LINES
"$to/paper_literal" own $from $labels --recipe paper-literal --mosaic 0
"$to/paper_literal_mosaic" own $from $labels --recipe paper-literal --mosaic 0.7
"$to/constant" own $from $labels --recipe constant --mosaic 0.7
LINES
        fi
        if wanted cluttered; then
            cat << LINES
"$to/cluttered_paper" own $from $labels --cluttered --recipe paper --mosaic 0
"$to/cluttered_paper_literal" own $from $labels --cluttered --recipe paper-literal --mosaic 0
"$to/cluttered_constant" own $from $labels --cluttered --recipe constant --mosaic 0
"$to/cluttered_best" own $from $labels --cluttered --mosaic 0
LINES
        fi
        if wanted flat; then
            flat_start=$runs/tiles/seed$seed/flat_start
            echo "\"$to/flat\" own --tiles \"$tiles\" --seed $seed --init \"$flat_start\" --tree \"$flat_start/tree.json\"" \
                "--classification-steps 0 --evaluate-every 200 $labels"
        fi
        if wanted ablations; then
            cat << LINES
"$to/overlap" own $from $labels --recipe overlap --mosaic 0.7
"$to/max_size" own $from $labels --recipe max-size --mosaic 0.7
"$to/single_images" own $from $labels --mosaic 0
"$to/one_to_two" own $from --joint --batch 48 --ratio 1:2 --steps $all
"$to/floor" own $from $labels --label-objectness floor
"$to/shared_rows" own $from $labels --share-class-rows
"$to/unboxed_are_mistakes" own $from $labels --unboxed-weight 1
LINES
        fi
    done
done | run_all
