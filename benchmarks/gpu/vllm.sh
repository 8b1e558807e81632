#!/bin/bash
# Clients against vLLM's own histograms on one machine with a card and no network, from the pieces of
# vllm_pack.sh:
#   bash benchmarks/gpu/vllm.sh                     unpack, serve, measure, print the table last
#   bash benchmarks/gpu/vllm.sh start [ARGUMENTS]   the same, detached (for machines with short calls)
#   bash benchmarks/gpu/vllm.sh wait [S]            for at most S seconds; then the table, or how far it is
# ARGUMENTS are those of benchmarks/gpu/vllm.py. Results are in build/gpu/vllm/out, their small parts
# in $OUT when that is set.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/build/gpu/vllm
export PYTHONPATH=$PWD/workflow:$PWD:$work/site PATH=$work/site/bin:$PATH
export LD_LIBRARY_PATH=$work/site/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PYTHONDONTWRITEBYTECODE=1
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_USE_FLASHINFER_SAMPLER=0 PYTHONUNBUFFERED=1
export MPI4PY_LIBMPI=$work/site/lib/libmpi.so.12

unpack() {
    [ -d "$work/site" ] || { cat "$work"/part*/all.tar.xz.* | xz -d -T0 | tar --extract --directory "$work"; }
    chmod +x "$work"/site/bin/*
    sed -i "1s|^#!.*python.*|#!$(command -v python3)|" $(grep -lI '^#!.*python' "$work"/site/bin/*) || true
}

run() {
    unpack
    python3 -m benchmarks.gpu.vllm --model "$work/model" --output "$work/out" "$@" \
        -- --load-format dummy --max-model-len 4096 --max-num-seqs 1024 --no-enable-log-requests
}

keep() { # the small files
    [ -n "${OUT:-}" ] || return 0
    cp "$work/log" "$OUT/log" 2>/dev/null || true
    cp "$work"/out/rows.jsonl "$work"/out/metrics*.txt "$OUT/" 2>/dev/null || true
    for log in "$work"/out/server*.log; do tail -c 200000 "$log" > "$OUT/$(basename "$log")"; done 2>/dev/null || true
}

case ${1:-run} in
    start)
        shift
        rm -f "$work/over"
        setsid bash "$0" run "$@" > "$work/log" 2>&1 < /dev/null &
        ;;
    wait)
        for _ in $(seq "${2:-500}"); do
            [ -e "$work/over" ] && break
            sleep 1
        done
        tail -c 9000 "$work/log"
        keep
        ;;
    run)
        [ $# -gt 0 ] && shift
        trap 'touch "$work/over"' EXIT
        run "$@"
        ;;
esac
