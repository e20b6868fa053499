#!/usr/bin/env bash
# How the shipped bundles are made. DATA holds the folders acevedo, acevedo_other, bccd, tecom, and raabin: the
# `raabin_*` pictures of TXL-PBC in images/, with models/labels/raabin/labels.csv beside them.
#   bench/make_zoo.sh DATA RUNS WEIGHTS
# Some hours on two cores. What each stage was for, and where the shipped ones' making differs, is in docs/models.md.
set -euo pipefail
data=$1 runs=$2 weights=$3
home=(--data "$data/acevedo" --data "$data/acevedo_other")
train() { leukoscope train --architecture "$@"; }
convert() {
    leukoscope convert "$1/model.keras" --quantization "$2" --output "$3" --licence Apache-2.0 --bundle-version 1.1.0 \
        --citation "leukoscope 0.1.0: white blood cell differentials at the microscope" \
        --calibration "$data/acevedo" --calibration "$data/acevedo_other" "${@:4}"
}

# MobileNetV2. Three trainings that saw neither BCCD nor Tecom, and their mean: the model that is measured on both.
train mobilenet_v2 "${home[@]}" --stain as-is --weights "$weights" --output "$runs/home"
train mobilenet_v2 "${home[@]}" --start "$runs/home/model.keras" --epochs 2 --output "$runs/matched"
train mobilenet_v2 "${home[@]}" --data "$data/raabin" --start "$runs/home/model.keras" --epochs 2 --output "$runs/raabin"
leukoscope average "$runs/home" "$runs/matched" "$runs/raabin" --stain matched --output "$runs/left_out"
convert "$runs/left_out" int8 "$runs/left_out-int8" --measure "$data/bccd" --measure "$data/tecom"

# With BCCD, and half way back: what is shipped.
train mobilenet_v2 "${home[@]}" --data "$data/raabin" --data "$data/bccd" --start "$runs/left_out/model.keras" \
    --epochs 2 --output "$runs/with_bccd"
leukoscope average "$runs/left_out" "$runs/with_bccd" --output "$runs/mobilenet_v2"
for quantization in int8 float32; do
    convert "$runs/mobilenet_v2" "$quantization" "models/zoo/mobilenet_v2-$quantization" \
        --calibration "$data/bccd" --measure "$data/tecom"
done

# The compact network, as it is shipped: on stains as they come.
sites=("${home[@]}" --data "$data/bccd" --data "$data/raabin")
train cnn "${sites[@]}" --stain as-is --size 96 --strength 0.5 --bfloat16 --output "$runs/cnn_first"
train cnn "${sites[@]}" --stain as-is --size 96 --strength 0.2 --bfloat16 --epochs 14 \
    --start "$runs/cnn_first/model.keras" --output "$runs/cnn_second"
train cnn "${sites[@]}" --stain as-is --size 96 --strength 0.1 --bfloat16 --epochs 10 \
    --start "$runs/cnn_second/model.keras" --output "$runs/cnn"
for quantization in int8 float32; do
    convert "$runs/cnn" "$quantization" "models/zoo/cnn-$quantization" --calibration "$data/bccd" --measure "$data/tecom"
done

# The other architectures of docs/models.md; EfficientNet-B0 from chance, as no weights for it were at hand.
for name in strided_cnn enhanced_cnn leaky_cnn efficientnet_b0; do
    train "$name" "${sites[@]}" --size 96 --strength 0.2 --weights none --epochs 12 --output "$runs/$name"
done
for name in mobilenet_v2_head mobilenet_v2_last_block; do
    train "$name" "${sites[@]}" --weights "$weights" --epochs 4 --output "$runs/$name"
done
for name in strided_cnn enhanced_cnn leaky_cnn efficientnet_b0 mobilenet_v2_head mobilenet_v2_last_block; do
    convert "$runs/$name" int8 "$runs/$name-int8" --calibration "$data/bccd" --measure "$data/tecom"
done
python bench/architectures.py models/zoo/cnn-int8 models/zoo/mobilenet_v2-int8 "$runs"/*_{cnn,b0,head,last_block}-int8
