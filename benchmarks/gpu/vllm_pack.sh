#!/bin/sh
# Gathers what vllm.sh needs on a machine with a card, CUDA, PyTorch and transformers, and no network:
# vLLM without the kernels and headers that its benchmark doesn't use, the packages that such a
# machine lacks, AIPerf and guidellm each with what it needs in other versions than vLLM, and a
# tokenizer for a model of random weights.
#   sh benchmarks/gpu/vllm_pack.sh TOKENIZER [VERSION]     (default 0.26.0; needs uv on PATH, and pip)
# TOKENIZER: folder with tokenizer.json and tokenizer_config.json, such as SmolLM2's. Pieces of at
# most 52 MiB lie in build/gpu/vllm/part*, those of vLLM first; each can be carried by itself.
set -eu
cd "$(dirname "$0")/../.."
tokenizer=$1
version=${2:-0.26.0}
out=build/gpu/vllm
rm -rf "$out"
mkdir -p "$out/site" "$out/model"

# packages of images with PyTorch, and of those with a scientific Python
there='torch|torchaudio|torchvision|triton|transformers|tokenizers|huggingface-hub|hf-xet|safetensors'
there="$there|nvidia-[a-z].*|cuda-.*|sympy|mpmath|networkx|filelock|fsspec|jinja2|markupsafe|requests"
there="$there|urllib3|certifi|charset-normalizer|idna|packaging|tqdm|regex|pyyaml"
science='pyarrow|scipy|matplotlib|seaborn|contourpy|cycler|fonttools|kiwisolver|pyparsing'

resolve() { # REQUIREMENTS LIST: keeps the versions that LIST has where it can
    uv pip compile "$1" --python-version 3.12 --python-platform x86_64-manylinux_2_35 \
        --no-annotate --no-header --quiet --output-file "$2"
}

install() { # LIST FOLDER
    uv pip install --quiet --link-mode copy --no-deps --target "$2" --python-version 3.12 \
        --python-platform x86_64-manylinux_2_35 --only-binary :all: --requirements "$1"
}

pack() { # NAME FOLDER…: into pieces
    name=$1
    shift
    tar --create --directory "$out" --exclude=__pycache__ --exclude=tests --exclude='*.a' "$@" \
        | xz -T0 -7 | split --bytes=54M --numeric-suffixes - "$out/$name.tar.xz."
    for piece in "$out/$name.tar.xz."*; do
        mkdir "$out/part$number"
        mv "$piece" "$out/part$number/"
        number=$((number + 1))
    done
}

resolve benchmarks/gpu/vllm.in "$out/all.txt"
grep -vE "^($there)==" "$out/all.txt" > "$out/own.txt"
install "$out/own.txt" "$out/site"
python -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
    --platform manylinux_2_28_x86_64 --dest "$out" "vllm==$version"
(cd "$out/site" && unzip -q -o ../vllm-*.whl -x '*_vllm_fa2_C*' '*_moe_C*' '*/vllm-rs' \
    '*/deep_gemm/include/*' '*/cutlass/*')
rm -rf "$out/site/mistral_common/data" "$out/site/pycountry/locales"
strip --strip-debug "$out"/site/xgrammar/*.so
for client in aiperf guidellm; do
    cp "$out/all.txt" "$out/$client.txt"
    resolve "benchmarks/gpu/$client.in" "$out/$client.txt"
    grep -vE "^($there|$science)==" "$out/$client.txt" | grep -vxFf "$out/all.txt" > "$out/own.txt"
    install "$out/own.txt" "$out/site-$client"
done
cp "$tokenizer"/tokenizer*.json "$out/model/"
cp benchmarks/gpu/llama-1b.json "$out/model/config.json"

number=0
pack vllm site model
pack clients site-aiperf site-guidellm
rm -rf "$out"/site* "$out/model" "$out"/*.whl
du -sm "$out"/part*
