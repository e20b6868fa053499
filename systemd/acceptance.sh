#!/bin/bash
# The service under a real systemd: installed by `make install` in a Debian system of its own, started, killed, frozen,
# stopped, uninstalled; each step is looked at from outside.
#
#     sudo systemd/acceptance.sh [ROOT]
#
# ROOT is a folder with a Debian 12 or 13 system; where there is none, debootstrap makes it (SUITE, bookworm), once. It
# is booted in namespaces of its own, with nothing of this machine but its kernel. Exit status 77: this machine cannot
# do that, and the last line says why. Everything is put away again but ROOT.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
ROOT=${1:-/var/tmp/leukoscope-acceptance}
SUITE=${SUITE:-bookworm}
PACKAGES=systemd,dbus,ca-certificates,python3,python3-venv,make,mosquitto,mosquitto-clients,procps

if [ "${2:-}" = --inside ]; then  # PID 1 to be: in namespaces of its own, makes ROOT its own root
    mount --make-rprivate /
    mount --bind "$ROOT" "$ROOT"
    cd "$ROOT"
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t tmpfs tmpfs tmp
    mount -t tmpfs -o mode=755 tmpfs dev
    for node in null zero full random urandom tty; do cp -a "/dev/$node" dev/; done
    ln -s /proc/self/fd dev/fd
    mkdir dev/pts dev/shm .host
    mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    mount -t tmpfs tmpfs dev/shm
    pivot_root . .host
    umount -l .host
    rmdir .host
    mount --make-rshared /  # as on a real machine: credentials are mounted by a helper, for the service to see
    exec env -i container=acceptance PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --show-status=no
fi

cannot() { echo "Cannot be done here: $1"; exit 77; }
fail() { echo "FAILED: $1" >&2; inside journalctl -u 'leukoscope*' --no-pager -n 40 >&2 || true; exit 1; }
passed() { echo "ok: $1"; }
inside() { nsenter -t "$INIT" -a "$@"; }
property() { inside systemctl show -P "$1" leukoscope; }

put_away() {
    kill -9 "$OUTER" 2> /dev/null || true
    wait "$OUTER" 2> /dev/null || true
    for _ in $(seq 50); do
        find "$CGROUPS/leukoscope-acceptance" -depth -type d -exec rmdir {} \; 2> /dev/null || true
        [ -e "$CGROUPS/leukoscope-acceptance" ] || break
        sleep 0.1
    done
}

page_answers() {
    inside python3 -c 'import http.client as h; c = h.HTTPConnection("127.0.0.1:8080", timeout=20); c.request("GET", "/")
print("the page answers:", c.getresponse().status)' 2> /dev/null
}

# Waits until a command succeeds.
until_ok() {
    local what=$1 seconds=$2; shift 2
    local end=$((SECONDS + seconds))
    until "$@"; do
        [ $SECONDS -lt $end ] || fail "waited $seconds s in vain until $what"
        sleep 0.2
    done
}

[ "$(id -u)" = 0 ] || cannot "it needs root"
CGROUPS=$(findmnt -n -o TARGET -t cgroup2 | head -n 1) || cannot "there is no cgroup2 here"
unshare --mount --pid --fork --uts --ipc --net --cgroup mount --make-rprivate / 2> /dev/null ||
    cannot "no namespaces may be made here"

if [ ! -e "$ROOT/usr/bin/python3" ]; then
    command -v debootstrap > /dev/null || cannot "debootstrap is not installed, and there is no system in $ROOT"
    echo "Making a Debian system ($SUITE) in $ROOT"
    debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" "$ROOT" > "$ROOT.log" 2>&1 ||
        cannot "debootstrap failed, see $ROOT.log"
fi

echo "Installing with make install"
# What an earlier run left when it failed.
rm -rf "${ROOT:?}"/{root/leukoscope,etc/leukoscope,etc/systemd/system/leukoscope.service.d,srv/leukoscope,opt/leukoscope*}
rm -rf "$ROOT"/var/lib/leukoscope* "$ROOT"/usr/local/{bin/leukoscope,lib/systemd,lib/sysusers.d,lib/tmpfiles.d} "$ROOT"/var/log/journal
rm -f "$ROOT"/etc/systemd/system/*/leukoscope*.service
mkdir -p "$ROOT/root/leukoscope"
git -C "$HERE/.." ls-files -z --cached --others --exclude-standard | (cd "$HERE/.." && xargs -0 ls -d 2> /dev/null | tar -c -T -) |
    tar -x -C "$ROOT/root/leukoscope"
# pip shall find its index as it does here.
cp /etc/resolv.conf /etc/hosts "$ROOT/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$ROOT/etc/ssl/certs/"
if [ -e /etc/pip.conf ]; then cp /etc/pip.conf "$ROOT/etc/"; fi
find "$ROOT"/{etc,opt,srv,usr,var/lib} -xdev | sort > "$ROOT.before"
unshare --mount --pid --fork --mount-proc="$ROOT/proc" chroot "$ROOT" make --no-print-directory -C /root/leukoscope install 2> >(grep -v '^WARNING: Location' >&2)
sed -i 's/^kind = "folder".*/kind = "virtual_slide"\ncells = 3000\ninterval_s = 0.2/; s/^path = .*//' \
    "$ROOT/etc/leukoscope/leukoscope.toml"
# The watchdog bites sooner, so that nobody waits a minute for it.
mkdir -p "$ROOT/etc/systemd/system/leukoscope.service.d"
printf '[Service]\nWatchdogSec=8\nRestartSec=1\n' > "$ROOT/etc/systemd/system/leukoscope.service.d/quick.conf"

echo "Booting $(chroot "$ROOT" systemctl --version | head -n 1)"
mkdir -p "$CGROUPS/leukoscope-acceptance"
(
    echo "$BASHPID" > "$CGROUPS/leukoscope-acceptance/cgroup.procs"
    exec unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup "$0" "$ROOT" --inside
) > "$ROOT.console" 2>&1 &
OUTER=$!
trap put_away EXIT
for _ in $(seq 50); do INIT=$(pgrep -P "$OUTER") && break; sleep 0.1; done
until_ok "systemd is up" 60 bash -c "nsenter -t $INIT -a systemctl is-system-running 2> /dev/null | grep -qE 'running|degraded'"
passed "systemd $(inside systemctl --version | awk 'NR == 1 { print $2 }') is up"

for unit in leukoscope leukoscope-dashboard; do
    said=$(inside systemd-analyze verify "/usr/local/lib/systemd/system/$unit.service" 2>&1)
    [ -z "$said" ] || fail "systemd-analyze verify $unit: $said"
    passed "systemd-analyze verify $unit: nothing to say"
    said=$(inside systemd-analyze security --offline=true --threshold=20 --no-pager "/usr/local/lib/systemd/system/$unit.service" 2>&1) ||
        fail "systemd-analyze security $unit: $said"
    passed "systemd-analyze security $unit: $(echo "$said" | grep -o 'exposure level.*: [0-9.]*' | grep -o '[0-9.]*$')"
done

inside mosquitto_sub -t 'leukoscope/#' -F '%t %p' > "$ROOT.messages" &
inside systemctl enable --quiet --now leukoscope || fail "it does not start"
[ "$(property ActiveState)/$(property SubState)" = active/running ] || fail "it is $(property ActiveState)"
passed "active, and it said itself that it is ready: $(property StatusText)"
passed "it runs as $(inside ps -o user= -p "$(property MainPID)"), with capabilities $(inside grep CapEff "/proc/$(property MainPID)/status" | cut -f 2)"
until_ok "cells are published" 60 grep -q "cell/" "$ROOT.messages"
passed "cells are published"

inside systemctl start leukoscope-dashboard || fail "the page does not start"
until_ok "the page answers" 60 page_answers
passed "the page runs as $(inside ps -o user:24= -p "$(inside systemctl show -P MainPID leukoscope-dashboard)")"

first=$(property MainPID)
inside kill -9 "$first"
until_ok "it is started anew after kill -9" 60 bash -c "[ \"\$(nsenter -t $INIT -a systemctl show -P SubState -P MainPID leukoscope | sort | tr '\n' ' ')\" != '$first running ' ] && [ \"\$(nsenter -t $INIT -a systemctl show -P NRestarts leukoscope)\" -ge 1 ] && [ \"\$(nsenter -t $INIT -a systemctl show -P SubState leukoscope)\" = running ]"
passed "killed with SIGKILL: started anew, NRestarts=$(property NRestarts)"

second=$(property MainPID)
inside kill -STOP "$second"
until_ok "the watchdog has bitten" 60 bash -c "[ \"\$(nsenter -t $INIT -a systemctl show -P NRestarts leukoscope)\" -ge 2 ] && [ \"\$(nsenter -t $INIT -a systemctl show -P SubState leukoscope)\" = running ]"
inside journalctl -u leukoscope --no-pager | grep "Watchdog timeout" > /dev/null || fail "the journal does not tell of the watchdog"
passed "frozen with SIGSTOP: $(inside journalctl -u leukoscope --no-pager -o cat | grep -m 1 'Watchdog timeout')"

inside systemctl stop leukoscope
[ "$(property Result)" = success ] || fail "stopping ended with $(property Result)"
until_ok "it has said that it is offline" 10 bash -c "grep '/status ' '$ROOT.messages' | tail -n 1 | grep -q '\"state\":\"offline\"'"
passed "systemctl stop: it said offline, and ended with $(property Result)"

inside sed -i 's/^kind = .*/kind = "sundial"/' /etc/leukoscope/leukoscope.toml
inside systemctl start leukoscope 2> /dev/null && fail "it started with a wrong configuration"
sleep 3
[ "$(property ActiveState)/$(property ExecMainStatus)" = failed/78 ] || fail "a wrong configuration: $(property ActiveState)/$(property ExecMainStatus)"
passed "a wrong configuration ends it with status 78, and it is not started again: $(inside journalctl -u leukoscope --no-pager -o cat | grep -m 1 sundial)"

inside rm -r /etc/systemd/system/leukoscope.service.d
inside make --no-print-directory -C /root/leukoscope uninstall > /dev/null
find "$ROOT"/{etc,opt,srv,usr,var/lib} -xdev | sort > "$ROOT.after"
# The system writes files of its own at its first boot.
left=$(comm -13 "$ROOT.before" "$ROOT.after" | sed "s|^$ROOT||" | grep -E 'leukoscope|^/(opt|srv|usr/local)/' || true)
other=$(echo "$left" | grep -vE '^(/etc/leukoscope|/var/lib/leukoscope)' || true)
[ -z "$other" ] || fail "make uninstall leaves $other"
passed "make uninstall leaves what was counted and what was configured: $(echo "$left" | grep -E '(sqlite|toml)$' | tr '\n' ' ')"
