# SPDX-License-Identifier: Apache-2.0
"""A scratch root: an overlay over this machine's own, so that real package managers run real scripts
with all that a Debian has, and what they write is gone afterwards. The mounts are in a mount namespace
of this process alone."""

import ctypes
import os
import shutil
import subprocess

_CLONE_NEWNS = 0x00020000
_has_namespace = False


def why_not():
    """The reason why there can be no scratch root, or None."""
    global _has_namespace
    if os.geteuid() != 0:
        return "a scratch root takes root"
    if not _has_namespace:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
            return f"no mount namespace: {os.strerror(ctypes.get_errno())}"
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        _has_namespace = True
    return None


class Scratch:
    def __init__(self, folder):
        self.base = os.path.join(str(folder), "scratch")
        self.path = os.path.join(self.base, "root")
        os.makedirs(self.base)
        self._mount("-t", "tmpfs", "tmpfs", self.base)
        parts = {name: os.path.join(self.base, name) for name in ("root", "upper", "work")}
        for part in parts.values():
            os.mkdir(part)
        os.chmod(self.base, 0o755)
        self._mount("-t", "overlay", "overlay", "-o",
                    f"lowerdir=/,upperdir={parts['upper']},workdir={parts['work']}", self.path)
        for name in ("proc", "dev", "sys"):
            self._mount("--rbind", f"/{name}", os.path.join(self.path, name))
        for name in ("run", "tmp"):
            self._mount("-t", "tmpfs", "tmpfs", os.path.join(self.path, name))
        os.chmod(os.path.join(self.path, "tmp"), 0o1777)

    @staticmethod
    def _mount(*args):
        result = subprocess.run(["mount", *args], capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"mount {args}: {result.stderr}"

    def close(self):
        subprocess.run(["umount", "--recursive", "--lazy", self.base], check=True)

    def run(self, *argv, check=True, env=None):
        """In the root, with a plain environment; the output."""
        result = subprocess.run(["chroot", self.path, *argv], capture_output=True, text=True, check=False,
                                stdin=subprocess.DEVNULL,
                                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
                                     "DEBIAN_FRONTEND": "noninteractive", **(env or {})})
        if check:
            assert result.returncode == 0, f"{argv}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout + result.stderr

    def inside(self, path):
        return os.path.join(self.path, path.lstrip("/"))

    def exists(self, path):
        return os.path.lexists(self.inside(path))

    def read(self, path):
        with open(self.inside(path), encoding="utf-8") as file:
            return file.read()

    def write(self, path, text):
        """In place: owner and mode stay."""
        with open(self.inside(path), "w", encoding="utf-8") as file:
            file.write(text)

    def bring(self, path):
        """Copies a file into the root's /tmp; its path there."""
        shutil.copy(path, self.inside("/tmp"))
        return os.path.join("/tmp", os.path.basename(path))

    def stat(self, path):
        """"0640 root:prometheus-streams", by the root's own names."""
        return self.run("stat", "-c", "%04a %U:%G", path).strip()
