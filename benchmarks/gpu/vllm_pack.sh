#!/bin/sh
# Gathers what vllm.sh needs on a machine with a card, CUDA, PyTorch and transformers, and no network:
# vLLM without the kernels and headers that its benchmark doesn't use, the packages that such a
# machine lacks, and a tokenizer for a model of random weights.
#   sh benchmarks/gpu/vllm_pack.sh TOKENIZER [VERSION]     (default 0.26.0; needs uv on PATH, and pip)
# TOKENIZER: folder with tokenizer.json and tokenizer_config.json, such as SmolLM2's. Pieces of at
# most 56 MiB lie in build/gpu/vllm/part*; each can be carried by itself.
set -eu
cd "$(dirname "$0")/../.."
tokenizer=$1
version=${2:-0.26.0}
out=build/gpu/vllm
rm -rf "$out"
mkdir -p "$out/site" "$out/model"

# packages of images with PyTorch and of a scientific Python
there='torch|torchaudio|torchvision|triton|transformers|tokenizers|huggingface-hub|hf-xet|safetensors'
there="$there|nvidia-[a-z].*|cuda-.*|sympy|mpmath|networkx|filelock|fsspec|jinja2|markupsafe|requests"
there="$there|urllib3|certifi|charset-normalizer|idna|packaging|tqdm|regex|pyyaml"
uv pip compile benchmarks/gpu/vllm.in --python-version 3.12 --python-platform x86_64-manylinux_2_35 \
    --no-annotate --no-header --quiet --output-file "$out/all.txt"
grep -vE "^($there)==" "$out/all.txt" > "$out/own.txt"
uv pip install --quiet --no-deps --target "$out/site" --python-version 3.12 \
    --python-platform x86_64-manylinux_2_35 --only-binary :all: --requirements "$out/own.txt"
python -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
    --platform manylinux_2_28_x86_64 --dest "$out" "vllm==$version"
(cd "$out/site" && unzip -q -o ../vllm-*.whl -x '*_vllm_fa2_C*' '*_moe_C*' '*/vllm-rs' \
    '*/deep_gemm/include/*' '*/cutlass/*')
find "$out/site" -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
cp "$tokenizer"/tokenizer*.json "$out/model/"
cp benchmarks/gpu/llama-1b.json "$out/model/config.json"

tar --create --directory "$out" site model | xz -T0 -5 | split --bytes=56M --numeric-suffixes \
    - "$out/all.tar.xz."
number=0
for piece in "$out/all.tar.xz."*; do
    mkdir "$out/part$number"
    mv "$piece" "$out/part$number/"
    number=$((number + 1))
done
rm -rf "$out/site" "$out/model" "$out"/*.whl
du -sm "$out"/part*
