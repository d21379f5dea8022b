#!/usr/bin/env bash
# Fits the quality estimator anew, as after a change of the speech model: from the data to the constants in src/.
#   crates/quality/fit/refit.sh [DATA] [OUT] [BENCH]    needs a Python with crates/quality/fit/requirements.txt ($PYTHON)
# BENCH is what `./x bench speech` left: its coded test clips are the test; it is run first where it was not. What OUT and
# BENCH already hold is not scored again unless it changed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
data=${1:-$root/../shared/data}
out=${2:-$root/out/fit}
bench=${3:-$root/out/speech}
if [ -z "${PYTHON:-}" ]; then
    PYTHON=$root/.venv/bin/python
    [ -x "$PYTHON" ] || python3 -m venv "$root/.venv"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check \
        -r "$root/crates/quality/fit/requirements.txt" -r "$root/testing/lyra-requirements.txt"
fi
export AURALINK_PYTHON=$PYTHON
here=$root/crates/quality/fit
cd "$root"
[ -d "$out/train" ] || "$PYTHON" "$here/estimator.py" prepare "$data" "$out"
[ -f "$bench/tables.md" ] || cargo run --quiet --locked -p auralink-bench -- speech --data "$data" --out "$bench"
# Many voices under some conditions each teach more than a few under all.
cargo run --quiet --locked -p auralink-bench -- speech-code --clips "$out/train" --out "$out/coded" --every 4 ||
    echo "refit: WITHOUT Lyra V2, see above" >&2
measure() { # measure REFERENCES CODED
    cargo run --quiet --locked -p auralink-quality --example fit_features -- "$1" "$2"
    "$PYTHON" "$here/estimator.py" score "$out/scores.jsonl" "$1" "$2"
}
measure "$out/train" "$out/coded/train"
measure "$bench/clips/speech" "$bench/decoded/speech"
"$PYTHON" "$here/estimator.py" fit "$out/coded/train" "$bench/decoded/speech" "$root/crates/quality/src/estimator_weights.rs"
