# SPDX-License-Identifier: Apache-2.0
"""nkeys and the JWTs of a NATS server in operator mode; ed25519 is done by the openssl command."""

import base64
import hashlib
import json
import os
import time

from .pki import run

PREFIXES = {"O": 14 << 3, "A": 0, "U": 20 << 3}
_SEED = 18 << 3
_DER = bytes.fromhex("302e020100300506032b657004220420")


def _crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc


def _encode(data):
    return base64.b32encode(data + _crc16(data).to_bytes(2, "little")).decode().rstrip("=")


def _base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class NKey:
    """`kind`: O(perator), A(ccount) or U(ser)."""

    def __init__(self, folder, kind, raw=None):
        raw = raw or os.urandom(32)
        prefix = PREFIXES[kind]
        self.seed = _encode(bytes([_SEED | prefix >> 5, prefix << 3 & 0xFF]) + raw)
        self.der = os.path.join(str(folder), f"nkey-{os.urandom(4).hex()}.der")
        with open(self.der, "wb") as file:
            file.write(_DER + raw)
        public = run("openssl", "pkey", "-inform", "DER", "-in", self.der, "-pubout", "-outform", "DER")[-32:]
        self.public = _encode(bytes([prefix]) + public)

    def sign(self, data):
        path = f"{self.der}.data"
        with open(path, "wb") as file:
            file.write(data)
        return run("openssl", "pkeyutl", "-sign", "-rawin", "-keyform", "DER", "-inkey", self.der, "-in", path)

    def jwt(self, subject, name, nats, **claims):
        """A JWT about `subject`, a public key, signed by this key."""
        body = {"iat": int(time.time()), "iss": self.public, "name": name, "sub": subject,
                "nats": {"version": 2, **nats}, **claims}
        body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode().rstrip("=")
        text = ".".join(_base64url(json.dumps(part).encode())
                        for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
        return f"{text}.{_base64url(self.sign(text.encode()))}"


class Operator:
    """An operator with one account with JetStream; `config` is for the server."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.operator, self.account = NKey(folder, "O"), NKey(folder, "A")
        system = NKey(folder, "A")
        unlimited = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True,
                     "conn": -1, "leaf": -1}
        storage = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
        operator_jwt = self.operator.jwt(self.operator.public, "test",
                                         {"type": "operator", "system_account": system.public})
        accounts = {
            self.account.public: {"type": "account", "limits": {**unlimited, **storage}},
            system.public: {"type": "account", "limits": unlimited},
        }
        preload = "".join(f'{key}: "{self.operator.jwt(key, key[:8], claims)}"\n' for key, claims in accounts.items())
        self.config = (f'operator: "{operator_jwt}"\nsystem_account: {system.public}\n'
                       f"resolver: MEMORY\nresolver_preload: {{\n{preload}}}\n")

    def credentials(self, name, file=None, **claims):
        """Writes a .creds file of a new user; its path."""
        user = NKey(self.folder, "U")
        jwt = self.account.jwt(user.public, name, {"type": "user", "subs": -1, "data": -1, "payload": -1}, **claims)
        path = file or os.path.join(self.folder, f"{name}.creds")
        with open(path, "w", encoding="ascii") as out:
            out.write(f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
                      "************************* IMPORTANT *************************\n"
                      "NKEY Seed printed below can be used to sign and prove identity.\n\n"
                      f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n")
        return path
