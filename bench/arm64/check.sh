#!/bin/bash
# Installs the whole package on an emulated arm64 Debian and classifies with it there and here.
#
#     bench/arm64/check.sh bookworm|trixie FOLDER     # Debian 12 or 13, the systems of Raspberry Pi OS
#
# FOLDER keeps the root file system (some 700 MB) for the next time. Needs root, Linux 6.7, and the packages
# mmdebstrap and qemu-user-static. Emulation is good for correctness, never for speed.
set -euo pipefail
suite=${1:?bookworm or trixie} folder=$(mkdir -p "${2:?a folder}" && realpath "$2")
here=$(cd "$(dirname "$0")" && pwd) repository=$(cd "$(dirname "$0")/../.." && pwd)
root=$folder/$suite python=${PYTHON:-python3}
emulated() { "$python" "$here/emulated.py" "$@"; }
there() { ROOT=$root emulated chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8 "$@"; }

if [ ! -e "$root/.made" ]; then
    echo "# Making an arm64 $suite in $root: some minutes."
    emulated mmdebstrap --mode=root --arch=arm64 --variant=apt --skip=check/qemu --aptopt='APT::Sandbox::User "root"' \
        --include=ca-certificates,python3,python3-venv,python3-pip "$suite" "$root" > "$folder/$suite.log" 2>&1
    touch "$root/.made"
fi
# The network as it is here.
for file in /etc/resolv.conf /etc/hosts /etc/ssl/certs/ca-certificates.crt /etc/pip.conf; do
    if [ -e "$file" ]; then mkdir -p "$root$(dirname "$file")" && cp "$file" "$root$file"; fi
done

rm -rf "$folder/wheel" && "$python" -m pip wheel -q --no-deps -w "$folder/wheel" "$repository"
cp "$folder"/wheel/leukoscope-*.whl "$root/root/"
wheel=$(basename "$folder"/wheel/leukoscope-*.whl)
say() { echo "\$ $*"; }

say uname -m "&&" python3 --version
there uname -m
there python3 --version
there rm -rf /root/venv
there python3 -m venv /root/venv
say pip install "$wheel"
there /root/venv/bin/pip install -q --no-cache-dir "/root/$wheel" 2>&1 | grep -v "^WARNING: Location\|root user" || true
there /root/venv/bin/pip list 2> /dev/null | grep -i "leukoscope\|litert\|numpy\|opencv\|paho\|pydantic"
say leukoscope models verify
there /root/venv/bin/leukoscope models verify
samples=$(there /root/venv/bin/python -c 'import edge; from pathlib import Path; print(Path(edge.__file__).parent / "samples" / "acevedo")')
say leukoscope classify "edge/samples/acevedo"
there /root/venv/bin/leukoscope classify "$samples" 2>&1 | sed "s#/root/venv/lib.*/samples/##" | tail -n 17
there /root/venv/bin/leukoscope classify --format jsonl "$samples" > "$folder/$suite.jsonl" 2> /dev/null
"$python" -c "from edge.cli import main; main()" classify --format jsonl "$repository/edge/samples/acevedo" > "$folder/here.jsonl" 2> /dev/null
"$python" - "$folder/here.jsonl" "$folder/$suite.jsonl" <<'END'
import json, sys
here, there = ([json.loads(line) for line in open(path)] for path in sys.argv[1:])
names = [[cell["file"].rpartition("/")[2] for cell in cells] for cells in (here, there)]
assert names[0] == names[1], names
pairs = list(zip(here, there))
same = sum(a["class"] == b["class"] for a, b in pairs)
verdicts = sum(a["verdict"] == b["verdict"] for a, b in pairs)
apart = max(abs(a["confidence"] - b["confidence"]) for a, b in pairs)
print(f"# {len(pairs)} cells: class equal to x86-64's on {same}, verdict on {verdicts}, confidence within {apart:.4f}")
sys.exit(same != len(pairs))
END
