#!/bin/sh
# What a tree is worth to a classifier, with classes that it was never shown.
#
#   scripts/classification.sh TILES_DIR [RUNS_DIR]
#
# TILES_DIR holds train/ and val/ with a folder or a tar for each wnid, and split.json with their list; the classes that
# are left out are eight of Tiny-ImageNet's, one of each of eight families that keep others. Trains the same net twice
# for each seed, over the tree of the labels and with one softmax, and evaluates both on the classes of training and on
# those left out: the flat one also through the tree, where a node is as probable as the classes below it together.
# Draws their curves and prints a table, means over the seeds. benchmarks/classification.md has the figures.
#
# PYTHON names another interpreter, SEEDS other seeds; further options of `python -m yolo9000.classify` go into
# CLASSIFY_OPTIONS.
set -eu

if [ "$#" -lt 1 ]; then
    sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
tiles=$1
runs=${2:-runs/classification}
python=${PYTHON:-python}
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"

# Chihuahua, Persian cat, grasshopper, gazelle, limousine, pill bottle, slug, baboon
left_out="n02085620 n02123394 n02226429 n02423022 n03670208 n03937543 n01945685 n02486410"

evaluations=
for seed in ${SEEDS:-0 1 2}; do
    for form in tree flat; do
        option=--no-flat
        if [ "$form" = flat ]; then option=--flat; fi
        # shellcheck disable=SC2086
        "$python" -m yolo9000.classify --tiles "$tiles" --preset small --left-out $left_out "$option" \
            --steps 1500 --size 64 --fine-tuning-steps 0 --width 0.25 --stride 16 --batch 32 --val-images 1000 \
            --seed "$seed" --out "$runs/$form-$seed" ${CLASSIFY_OPTIONS:-}
    done
    "$python" -m yolo9000.evaluate "$runs/tree-$seed" --images 5000 --overwrite
    "$python" -m yolo9000.evaluate "$runs/flat-$seed" --images 5000 --overwrite --tree "$runs/tree-$seed/tree.json"
    evaluations="$evaluations tree=$runs/tree-$seed/evaluation.json flat=$runs/flat-$seed/evaluation.json"
done
# shellcheck disable=SC2086
"$python" "$here/tools/hierarchical_accuracy.py" $evaluations --out "$runs/hierarchical_accuracy.png"
