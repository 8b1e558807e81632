#!/bin/bash
# Clients against vLLM's own histograms on one machine with a card and no network, from the pieces of
# vllm_pack.sh:
#   bash benchmarks/gpu/vllm.sh                     unpack, serve, measure, print the table last
#   bash benchmarks/gpu/vllm.sh start [ARGUMENTS]   the same, detached (for machines with short calls)
#   bash benchmarks/gpu/vllm.sh wait [S]            for at most S seconds; then the table, or how far it is
#   bash benchmarks/gpu/vllm.sh unpack              pieces that came later, such as those of the clients
# ARGUMENTS are those of benchmarks/gpu/vllm.py. Pieces and results are in build/gpu/vllm, or in $WORK
# when that is set; the results' small parts also in $OUT when that is set.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${WORK:-$PWD/build/gpu/vllm}
export PYTHONPATH=$PWD/workflow:$PWD:$work/site PATH=$work/site/bin:$PATH
export LD_LIBRARY_PATH=$work/site/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 VLLM_USE_FLASHINFER_SAMPLER=0 PYTHONUNBUFFERED=1
export MPI4PY_LIBMPI=$work/site/lib/libmpi.so.12

unpack() {
    take vllm site
    take clients site-aiperf site-guidellm
    chmod +x "$work"/site/bin/*
    sed -i "1s|^#!.*python.*|#!$(command -v python3)|" $(grep -dskip -lI '^#!.*python' "$work"/site/bin/*) || true
}

take() { # NAME FOLDER…: unless the first is there or no piece is
    [ -d "$work/$2" ] || ! compgen -G "$work/part*/$1.tar.xz.*" > /dev/null && return
    rm -rf "$work/unpacking"
    mkdir "$work/unpacking"
    if ! cat "$work"/part*/"$1".tar.xz.* | xz -d -T0 | tar --extract --directory "$work/unpacking"; then
        echo "Of the pieces of $1 some are not here, or damaged: none is unpacked." >&2
        return
    fi
    mv "$work"/unpacking/* "$work"
    # else every process of server and client would compile what it imports, at each start
    (cd "$work" && python3 -m compileall -q -j 0 "${@:2}" > compile.log 2>&1) || true
}

run() {
    unpack
    python3 -m benchmarks.gpu.vllm --model "$work/model" --output "$work/out" --peers "$work" "$@" \
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
    unpack) unpack ;;
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
