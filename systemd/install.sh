#!/bin/bash
# Puts leukoscope on this machine as two services, and takes it away again.
#
#     systemd/install.sh install|uninstall [--dry-run]
#
# Variables: DESTDIR, a folder that stands for / (for building a package or an image: nothing is started, and no user
# made); PYTHON (python3). `make install` and `make uninstall` call it. Installing again brings another version:
# configuration and state stay as they are.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
DESTDIR=${DESTDIR:-}
PREFIX=/opt/leukoscope
PYTHON=${PYTHON:-python3}
UNITS=/usr/local/lib/systemd/system
USERS=/usr/local/lib/sysusers.d/leukoscope.conf
FOLDERS=/usr/local/lib/tmpfiles.d/leukoscope.conf
LINK=/usr/local/bin/leukoscope
ETC=/etc/leukoscope
SERVICES=(leukoscope.service leukoscope-dashboard.service)
EXAMPLES=(leukoscope.toml dashboard.toml environment)
DRY=

fail() { echo "$1" >&2; exit 1; }

# Runs a command, or says what it would be.
step() { if [ -n "$DRY" ]; then echo "  $*"; else "$@"; fi; }

# Whether there is a service manager here that is to be told.
managed() { [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; }

systemd_version() { (systemctl --version 2> /dev/null || echo systemd 0) | awk 'NR == 1 { print $2 }'; }

install_it() {
    packages
    program
    local unit example
    for unit in "${SERVICES[@]}"; do
        place "$unit" "$UNITS/$unit"
        if [ "$(systemd_version)" -ge 254 ]; then place backoff.conf "$UNITS/$unit.d/backoff.conf"; fi
    done
    place sysusers.conf "$USERS"
    place tmpfiles.conf "$FOLDERS"
    for example in "${EXAMPLES[@]}"; do
        [ -e "$DESTDIR$ETC/$example" ] || place "$example" "$ETC/$example"
    done
    step mkdir -p "$DESTDIR${LINK%/*}"
    step ln -sfn "$PREFIX/bin/leukoscope" "$DESTDIR$LINK"
    [ -z "$DESTDIR" ] || return 0
    step systemd-sysusers "$USERS"
    step systemd-tmpfiles --create "$FOLDERS"
    if managed; then
        step systemctl daemon-reload
        step systemctl try-restart "${SERVICES[@]}"
    fi
    [ -n "$DRY" ] || cat <<-END
	leukoscope is in $PREFIX. What is left to do:
	  1. where pictures come from, and which broker they go to:  sudo nano $ETC/leukoscope.toml
	  2. the broker's password, if it asks for one:              sudo nano $ETC/mqtt-password
	  3. see whether all is well:                                sudo leukoscope doctor
	  4. start it, now and at every boot:                        sudo systemctl enable --now leukoscope
	  5. the page that people look at, if it is to run here:     sudo systemctl enable --now leukoscope-dashboard
	END
}

# What the program needs of the system; on a Raspberry Pi the cameras' library, which only the system has.
packages() {
    local missing=()
    "$PYTHON" -c 'import ensurepip' 2> /dev/null || missing+=(python3-venv)
    if [ -z "$DESTDIR" ] && grep -qs 'Raspberry Pi' /proc/device-tree/model; then
        dpkg -s python3-picamera2 > /dev/null 2>&1 || missing+=(python3-picamera2)
    fi
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get > /dev/null || fail "Please install these first: ${missing[*]}"
    step apt-get update -q
    step env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# The virtual environment. It is made beside an older one, and takes its place when it is whole.
program() {
    local place=$DESTDIR$PREFIX options=() part script
    local new=$place.new
    if dpkg -s python3-picamera2 > /dev/null 2>&1; then options+=(--system-site-packages); fi
    step rm -rf "$new" "$place.old"
    step mkdir -p "${place%/*}"
    step "$PYTHON" -m venv "${options[@]}" "$new"
    # From a copy: a build leaves files behind, which would belong to root, and takes up what an earlier one left.
    SOURCE=$(mktemp -d)
    trap 'rm -rf "$SOURCE"' EXIT
    for part in "${HERE%/*}"/*/__init__.py; do step cp -R "${part%/*}" "$SOURCE/"; done
    for part in setup.py pyproject.toml README.md LICENSE NOTICE; do step cp "${HERE%/*}/$part" "$SOURCE/"; done
    step "$new/bin/python" -m pip install -q --disable-pip-version-check --no-compile "$SOURCE[dashboard]"
    # Programs name their interpreter by its place, and tracebacks their files: both are where they will be.
    for script in "$new"/bin/*; do
        if [ ! -L "$script" ]; then step sed -i "s|$new|$PREFIX|g" "$script"; fi
    done
    step "$new/bin/python" -m compileall -q -j 0 -s "$new" -p "$PREFIX" "$new/lib"
    if [ -e "$place" ]; then step mv "$place" "$place.old"; fi
    step mv "$new" "$place"
    step rm -rf "$place.old"
}

place() { step install -D -m 644 "$HERE/$1" "$DESTDIR$2"; }

uninstall_it() {
    if managed; then step systemctl disable --quiet --now "${SERVICES[@]}"; fi
    local unit example
    for unit in "${SERVICES[@]}"; do
        step rm -f "$DESTDIR$UNITS/$unit" "$DESTDIR$UNITS/$unit.d/backoff.conf"
        if [ -d "$DESTDIR$UNITS/$unit.d" ]; then step rmdir "$DESTDIR$UNITS/$unit.d"; fi
    done
    step rm -f "$DESTDIR$USERS" "$DESTDIR$FOLDERS" "$DESTDIR$LINK"
    step rm -rf "$DESTDIR$PREFIX"
    # What a person has written stays.
    for example in "${EXAMPLES[@]}"; do
        if cmp -s "$HERE/$example" "$DESTDIR$ETC/$example"; then step rm "$DESTDIR$ETC/$example"; fi
    done
    for example in mqtt-password dashboard-mqtt-password; do
        if [ -e "$DESTDIR$ETC/$example" ] && [ ! -s "$DESTDIR$ETC/$example" ]; then step rm "$DESTDIR$ETC/$example"; fi
    done
    local folder
    for folder in "$ETC" /srv/leukoscope/incoming /srv/leukoscope "$UNITS" "${UNITS%/*}" "${USERS%/*}" "${FOLDERS%/*}"; do
        if [ -d "$DESTDIR$folder" ]; then step rmdir --ignore-fail-on-non-empty "$DESTDIR$folder"; fi
    done
    if managed; then step systemctl daemon-reload; fi
    [ -n "$DRY$DESTDIR" ] || cat <<-END
	leukoscope is gone. What it has counted is still there, in /var/lib/leukoscope and /var/lib/leukoscope-dashboard, with
	the users that it belongs to, and what you configured in $ETC. To delete that too:
	  sudo rm -r /var/lib/leukoscope* $ETC; sudo userdel leukoscope; sudo userdel leukoscope-dashboard
	END
}

what=${1:-}
case ${2:-} in
    --dry-run) DRY=yes ;;
    "") ;;
    *) fail "Usage: install.sh install|uninstall [--dry-run]" ;;
esac
case $what in
    install | uninstall) ;;
    *) fail "Usage: install.sh install|uninstall [--dry-run]" ;;
esac
[ -n "$DRY$DESTDIR" ] || [ "$(id -u)" = 0 ] || fail "This needs root: sudo make $what, or DRY_RUN=1 make $what to see what it would do."
[ -z "$DRY" ] || echo "Would do, as root:"
"${what}_it"
