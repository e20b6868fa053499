"""Runs a command with arm64 programs working, by emulation, in namespaces of its own.

    python bench/arm64/emulated.py COMMAND…

Needs root, Linux 6.7 or later (a user namespace then has its own binfmt_misc, so that nothing is registered on
the machine itself) and Debian's package qemu-user-static. With ROOT=DIR in the environment, /proc and /dev are
mounted into that folder first.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000
QEMU = "/usr/bin/qemu-aarch64-static"
# An ELF file for the machine 183, and what of its header must be equal: include/uapi/linux/elf.h, binfmt-misc.rst.
MAGIC = rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


def inside(command: list[str]) -> None:
    """In the new namespaces: mount, register the emulator, become the command."""
    mounts = [["mount", "--make-rprivate", "/"], ["mount", "-t", "proc", "proc", "/proc"]]
    mounts += [["mount", "-t", "binfmt_misc", "binfmt_misc", "/proc/sys/fs/binfmt_misc"]]
    root = os.environ.get("ROOT")
    if root:
        mounts += [
            ["mount", "-t", "proc", "proc", f"{root}/proc"],
            ["mount", "--rbind", "/dev", f"{root}/dev"],
        ]
    for mount in mounts:
        subprocess.run(mount, check=True)
    rule = b":arm64:M::" + MAGIC + b":" + MASK + b":" + QEMU.encode() + b":F"
    Path("/proc/sys/fs/binfmt_misc/register").write_bytes(rule)
    os.execvp(command[0], command)


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    if os.geteuid() != 0 or not Path(QEMU).exists():
        print(f"needs root, and {QEMU} (apt-get install qemu-user-static)", file=sys.stderr)
        return 1
    apart, mapped = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) != 0:
            print("no namespaces:", os.strerror(ctypes.get_errno()), file=sys.stderr)
            os._exit(1)
        os.write(apart[1], b"x")
        os.read(mapped[0], 1)
        os.setgid(0)
        os.setuid(0)
        first = os.fork()  # the first process of a new PID namespace is a child's
        if first == 0:
            inside(sys.argv[1:])
        os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]))
    os.read(apart[0], 1)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{name}").write_text("0 0 65536")
    os.write(mapped[1], b"x")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
