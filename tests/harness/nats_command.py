# SPDX-License-Identifier: Apache-2.0
"""As much of the `nats` command as docs/deploy.md uses, for where there is none: the same options."""

import argparse
import json
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.nats import Nats, NatsError  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    for option in ("--server", "--tlsca", "--inbox-prefix", "--user", "--password", "--js-domain", "--config"):
        parser.add_argument(option)
    parser.add_argument("words", nargs="+")
    asked = parser.parse_args()
    server = urllib.parse.urlsplit(asked.server)
    assert server.scheme == "tls"
    with Nats(server.port, asked.user, asked.password, host=server.hostname, ca=asked.tlsca,
              inbox=asked.inbox_prefix) as client:
        if asked.words == ["stream", "add"]:
            with open(asked.config, encoding="utf-8") as file:
                config = json.load(file)
            answer = client.api(f"STREAM.CREATE.{config['name']}", config, domain=asked.js_domain)
        else:
            assert asked.words[:2] == ["stream", "info"], asked.words
            answer = client.api(f"STREAM.INFO.{asked.words[2]}", domain=asked.js_domain)
    print(json.dumps(answer))


if __name__ == "__main__":
    try:
        main()
    except (NatsError, OSError) as error:
        sys.exit(f"nats: {error}")
