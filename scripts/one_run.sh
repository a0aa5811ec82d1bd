#!/bin/sh
# One run of a benchmark: it is trained and scored, and once it has ended it is not repeated.
#
#   scripts/one_run.sh RUN BOXED OPTION ...
#
# BOXED is what --boxed of the evaluation takes; or `data`, where the data say it; or `none`: the run is not scored.
# TRAIN_OPTIONS and EVALUATE_OPTIONS hold what all runs of a benchmark have in common. What is printed goes to RUN.log.
# For scripts/joint_benchmark.sh and scripts/photographs.sh, which start several side by side.
set -eu

if [ "$#" -lt 2 ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
run=$1
boxed=$2
shift 2
python=${PYTHON:-python}
if [ -e "$run/done" ]; then exit 0; fi
if [ -d "$run" ] && [ ! -e "$run/config.json" ] && [ -n "$(ls -A "$run")" ]; then
    echo "$run is there and is no run; name another folder" >&2
    exit 255
fi
rm -rf "$run"
mkdir -p "$(dirname "$run")"
evaluate() {
    case $boxed in
    none) ;;
    # shellcheck disable=SC2086
    data) "$python" -m yolo9000.evaluate "$run" ${EVALUATE_OPTIONS:-} ;;
    # shellcheck disable=SC2086
    *) "$python" -m yolo9000.evaluate "$run" ${EVALUATE_OPTIONS:-} --boxed "$boxed" ;;
    esac
}
# shellcheck disable=SC2086
{ "$python" -m yolo9000.train ${TRAIN_OPTIONS:-} --out "$run" "$@" && evaluate; } > "$run.log" 2>&1 || {
    tail -n 5 "$run.log" >&2
    exit 255 # which stops xargs
}
touch "$run/done"
echo "$run"
