# SPDX-License-Identifier: Apache-2.0
"""What both kinds of packages must hold, and what they must leave behind."""

import os

from harness.daemons import ROOT

USER = "prometheus-streams"
SAMPLES = {"poller.yaml", "receiver.yaml", *(f"nats/{name}" for name in os.listdir(os.path.join(ROOT, "etc/nats")))}


def installed_files(kind, unit_folder):
    """{path: mode and owners after the installation}; documentation aside."""
    name = f"prometheus-streams-{kind}"
    return {
        f"/usr/bin/{name}": "0755 root:root",
        f"{unit_folder}/{name}.service": "0644 root:root",
        f"{unit_folder}/{name}@.service": "0644 root:root",
        f"/usr/lib/sysusers.d/{name}.conf": "0644 root:root",
        f"/usr/share/man/man8/{name}.8.gz": "0644 root:root",
        f"/usr/share/man/man5/{name}.yaml.5.gz": "0644 root:root",
        f"/etc/logrotate.d/{name}": "0644 root:root",
        "/etc/prometheus-streams": f"0750 root:{USER}",
        f"/etc/prometheus-streams/{kind}.yaml": f"0640 root:{USER}",
    }


def check_installed(root, unit_folder):
    for kind in ("poller", "receiver"):
        found = {path: root.stat(path) for path in installed_files(kind, unit_folder)}
        assert found == installed_files(kind, unit_folder)
        root.run(f"/usr/bin/prometheus-streams-{kind}", "--config", f"/etc/prometheus-streams/{kind}.yaml",
                 "--check-config")
        # Nobody else may read what may hold a password; the daemon must.
        assert "Permission denied" in root.run("setpriv", "--reuid=nobody", "--clear-groups", "cat",
                                               f"/etc/prometheus-streams/{kind}.yaml", check=False)
        root.run("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "cat",
                 f"/etc/prometheus-streams/{kind}.yaml")
    assert root.run("getent", "passwd", USER).split(":")[5:] == ["/var/lib/prometheus-streams", "/usr/sbin/nologin\n"]


def change_configurations(root):
    """As an administrator does; returns what then must stay."""
    texts = {}
    for kind in ("poller", "receiver"):
        path = f"/etc/prometheus-streams/{kind}.yaml"
        texts[path] = root.read(path) + "\nidentity: changed-here\n"
        root.write(path, texts[path])
    return texts


def check_kept(root, texts):
    for path, text in texts.items():
        assert root.read(path) == text
        assert root.stat(path) == f"0640 root:{USER}"
