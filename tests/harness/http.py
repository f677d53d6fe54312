# SPDX-License-Identifier: Apache-2.0
"""Small HTTP client calls, and the exposition format read the slow way."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url, timeout=10, headers=None):
    """(status, text); status 0 when nobody answers."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with _opener.open(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")
    except OSError as error:
        return 0, str(error)


def get_json(url, timeout=10):
    status, text = get(url, timeout)
    return json.loads(text) if status == 200 else None


_SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: (-?\d+))?$')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def parse_timed(text):
    """[(name, labels, value, milliseconds or None)] of well-formed text 0.0.4."""
    samples = []
    for line in text.split("\n"):
        if not line or line.startswith("#"):
            continue
        match = _SAMPLE.match(line)
        assert match, f"unreadable sample: {line!r}"
        labels = {name: re.sub(r'\\[\\"n]', lambda m: _ESCAPES[m.group()], value)
                  for name, value in _LABEL.findall(match.group(2) or "")}
        samples.append((match.group(1), labels, float(match.group(3)),
                        None if match.group(4) is None else int(match.group(4))))
    return samples


def parse_exposition(text):
    """[(name, labels, value)] of the same, whatever the timestamps."""
    return [sample[:3] for sample in parse_timed(text)]


class Samples:
    """A scrape to ask questions of."""

    def __init__(self, text):
        self.text = text
        self.samples = parse_exposition(text)

    def find(self, name, **labels):
        return [value for sample, has, value in self.samples
                if sample == name and all(has.get(key) == want for key, want in labels.items())]

    def value(self, name, **labels):
        """The only value, or None if there is none."""
        found = self.find(name, **labels)
        assert len(found) <= 1, f"{name}{labels} is not unique: {found}"
        return found[0] if found else None

    def total(self, name, **labels):
        return sum(self.find(name, **labels))

    def labels_of(self, name):
        return [labels for sample, labels, _ in self.samples if sample == name]


def scrape(url):
    """Samples, or None when the server does not answer 200."""
    status, text = get(url)
    return Samples(text) if status == 200 else None
