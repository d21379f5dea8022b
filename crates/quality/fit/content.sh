#!/usr/bin/env bash
# Fits the content detector anew, from the data to the constants in src/.
#   crates/quality/fit/content.sh [DATA] [OUT]    needs a Python with crates/quality/fit/requirements.txt ($PYTHON)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
data=${1:-$root/../shared/data}
out=${2:-$root/out/fit}
if [ -z "${PYTHON:-}" ]; then
    PYTHON=$root/.venv/bin/python
    [ -x "$PYTHON" ] || python3 -m venv "$root/.venv"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check -r "$root/crates/quality/fit/requirements.txt"
fi
here=$root/crates/quality/fit
[ -d "$out/content" ] || "$PYTHON" "$here/content.py" prepare "$data" "$out"
cargo run --quiet --locked --manifest-path "$root/Cargo.toml" -p auralink-quality --example content_features -- "$out/content"
"$PYTHON" "$here/content.py" fit "$out" "$root/crates/quality/src/content_weights.rs"
