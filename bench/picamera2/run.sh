#!/bin/bash
# Runs the source `picamera2` with the real picamera2 and libcamera, on libcamera's virtual camera, in a Debian 13
# root that it makes in the folder given (3 GB, some minutes; the second time it is there). As root, on Linux:
#
#     bench/picamera2/run.sh /var/tmp/picamera2
#
# 75: this machine cannot do it, and why.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")") repository=$(readlink -f "$(dirname "$0")/../..")
root=${1:?a folder for the root}/root

[ "$(id -u)" = 0 ] || { echo "skipped: only root may make a root file system"; exit 75; }
command -v debootstrap >/dev/null || { echo "skipped: there is no debootstrap (apt install debootstrap)"; exit 75; }

if [ ! -e "$root/.made" ]; then
    mkdir -p "$root"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,python3-pip trixie "$root" \
        || { echo "skipped: Debian cannot be fetched"; exit 75; }
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    echo "deb http://deb.debian.org/debian trixie-backports main" >"$root/etc/apt/sources.list.d/backports.list"
    inside() { chroot "$root" env DEBIAN_FRONTEND=noninteractive "$@"; }
    inside apt-get -o APT::Sandbox::User=root update
    # libcamera 0.4 of plain Debian 13 hangs after its virtual camera was used once.
    inside apt-get -o APT::Sandbox::User=root install -y --no-install-recommends -t trixie-backports \
        python3-libcamera libcamera-tools libcamera-ipa
    inside apt-get -o APT::Sandbox::User=root install -y --no-install-recommends \
        python3-prctl python3-dev gcc libc6-dev mosquitto
    inside python3 -m venv --system-site-packages /opt/leukoscope
    inside env PIP_CERT=/etc/ssl/certs/ca-certificates.crt /opt/leukoscope/bin/pip install --quiet \
        "picamera2>=0.3.32" pytest pytest-timeout jsonschema
    touch "$root/.made"
fi

rm -rf "$root/src"
mkdir -p "$root/src" "$root/frames" "$root/usr/share/libcamera/pipeline/virtual"
cp "$here/virtual.yaml" "$root/usr/share/libcamera/pipeline/virtual/"
git -C "$repository" ls-files -z | (cd "$repository" && xargs -0 ls -d 2>/dev/null | tar -c -T -) | tar -x -C "$root/src"
chroot "$root" env PIP_CERT=/etc/ssl/certs/ca-certificates.crt /opt/leukoscope/bin/pip install --quiet -e /src
# All mounts are in a namespace of their own, and gone with it.
exec unshare --mount --pid --fork --kill-child bash -euc '
    root=$1
    mount --make-rprivate /
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    run() {
        chroot "$root" env -C /src PYTHONPATH=/src/bench/picamera2/stand_ins LIBCAMERA_LOG_LEVELS="*:FATAL" \
            HOME=/root PATH=/opt/leukoscope/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
    }
    [ -e "$root/frames/0000.jpg" ] || run python bench/picamera2/frames.py /frames
    chroot "$root" dpkg-query -W -f "\${Package} \${Version}\n" python3-libcamera
    run python -c "from importlib.metadata import version; print(\"picamera2\", version(\"picamera2\"))"
    run leukoscope cameras
    run python bench/picamera2/acceptance.py
    run python -m pytest -q -p no:cacheprovider -o filterwarnings=default -k picamera2 tests/sources/test_source_contract.py
' _ "$root"
