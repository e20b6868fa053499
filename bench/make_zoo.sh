#!/usr/bin/env bash
# How the shipped bundles are made. DATA holds the folders acevedo, acevedo_other, bccd, tecom, and raabin: the
# `raabin_*` pictures of TXL-PBC in images/, with models/labels/raabin/labels.csv beside them.
#   bench/make_zoo.sh DATA RUNS WEIGHTS
# Some hours on two cores. What each stage was for, and how the shipped ones were made, is in docs/models.md.
set -euo pipefail
data=$1 runs=$2 weights=$3
sources=(--data "$data/acevedo" --data "$data/acevedo_other")
sites=("${sources[@]}" --data "$data/bccd" --data "$data/raabin")

# MobileNetV2: first without BCCD, to be measured on a site left out; then with all that may be shipped.
leukoscope train --architecture mobilenet_v2 "${sources[@]}" --weights "$weights" --output "$runs/mobilenet_left_out"
leukoscope train --architecture mobilenet_v2 "${sites[@]}" --start "$runs/mobilenet_left_out/model.keras" \
    --output "$runs/mobilenet"
leukoscope train --architecture cnn "${sites[@]}" --size 96 --strength 0.5 --bfloat16 --output "$runs/cnn_first"
leukoscope train --architecture cnn "${sites[@]}" --size 96 --strength 0.2 --bfloat16 --epochs 14 \
    --start "$runs/cnn_first/model.keras" --output "$runs/cnn_second"
leukoscope train --architecture cnn "${sites[@]}" --size 96 --strength 0.1 --bfloat16 --epochs 10 \
    --start "$runs/cnn_second/model.keras" --output "$runs/cnn"

for run in mobilenet cnn; do
    name=$([ "$run" = cnn ] && echo cnn || echo mobilenet_v2)
    for quantization in int8 float32; do
        leukoscope convert "$runs/$run/model.keras" --quantization "$quantization" \
            --calibration "$data/acevedo" --calibration "$data/acevedo_other" --calibration "$data/bccd" \
            --measure "$data/tecom" --licence Apache-2.0 \
            --citation "leukoscope 0.1.0: white blood cell differentials at the microscope" --output "models/zoo/$name-$quantization"
    done
done
leukoscope convert "$runs/mobilenet_left_out/model.keras" --calibration "$data/acevedo" \
    --calibration "$data/acevedo_other" --measure "$data/bccd" --measure "$data/tecom" --output "$runs/left_out-int8"
