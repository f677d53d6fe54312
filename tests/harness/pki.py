# SPDX-License-Identifier: Apache-2.0
"""Certificates of a day, made by the openssl command."""

import os
import subprocess


def run(*argv, **settings):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **settings)
    assert done.returncode == 0, f"{argv}: {done.stderr.decode()}"
    return done.stdout


class Certificate:
    def __init__(self, cert, key):
        self.cert, self.key = cert, key


class Authority:
    """A CA in `folder`; issue() makes certificates, each for its names (DNS:… or IP:…)."""

    def __init__(self, folder, name="ca"):
        self.folder = os.path.join(str(folder), f"pki-{name}")
        os.makedirs(self.folder, exist_ok=True)
        self.cert, self.key = self._path("ca.pem"), self._path("ca.key")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", self.key, "-out", self.cert, "-days", "2", "-subj", f"/CN={name}",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def _path(self, file):
        return os.path.join(self.folder, file)

    def issue(self, name, alt="IP:127.0.0.1,DNS:localhost", expired=False, file=None, subject=None):
        """`subject`: as openssl writes it, /CN=<name> by default."""
        path = file or self._path(name)
        extensions = self._path(f"{name}.ext")
        with open(extensions, "w", encoding="ascii") as out:
            out.write(f"subjectAltName={alt}\nextendedKeyUsage=serverAuth,clientAuth\n")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            f"{path}.key", "-out", f"{path}.csr", "-subj", subject or f"/CN={name}")
        days = ["-days", "-1"] if expired else ["-days", "2"]
        run("openssl", "x509", "-req", "-in", f"{path}.csr", "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial",
            "-extfile", extensions, "-out", f"{path}.pem", *days)
        return Certificate(f"{path}.pem", f"{path}.key")
