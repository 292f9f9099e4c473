#!/bin/sh
# long.sh SECONDS  -- the fuzz targets again and again, with other examples each time, until the time is up or one fails.
# Each target is given 1000 examples at a time. What fails stays in .hypothesis and is tried first by the next run.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-600}
end=$(($(date +%s) + seconds))
round=0
while [ "$(date +%s)" -lt "$end" ]; do
    round=$((round + 1))
    left=$((end - $(date +%s)))
    status=0
    GLIDEPOST_FUZZ_EXAMPLES=${GLIDEPOST_FUZZ_EXAMPLES:-1000} timeout "$left" .venv/bin/python -m pytest -q tests/fuzz \
        --timeout=0 --hypothesis-seed="$(date +%s)" || status=$?
    case $status in
        0) ;;
        124) break ;; # the time is up
        *) exit "$status" ;;
    esac
done
echo "long.sh: nothing found in $seconds s, round $round"
