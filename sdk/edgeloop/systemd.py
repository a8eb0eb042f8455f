"""The systemd unit of an agent: started at boot, watched, limited, and started again for as long as it takes."""

from __future__ import annotations

import re
from pathlib import Path

from edgeloop.config import AgentConfig

__all__ = ["systemd_unit"]

_UNIT = """\
# Made by `edgeloop agent --systemd`. To install:
#   edgeloop agent {config} --systemd | sudo tee /etc/systemd/system/{name}.service
#   sudo systemctl enable --now {name}
[Unit]
Description=edgeloop agent of {device}
Wants=network-online.target
After=network-online.target time-sync.target
# A camera may come back after hours: no number of starts is too many.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
WorkingDirectory={directory}
User={user}
# EDGELOOP_MQTT_USER and EDGELOOP_MQTT_PASSWORD, where the broker asks for them.
EnvironmentFile=-/etc/edgeloop/{device}.env
Restart=on-failure
RestartSec=5
WatchdogSec={watchdog_s}
TimeoutStopSec=60
# The agent ends, and starts again, before the board runs out of memory.
MemoryMax={memory_max_mb}M
MemorySwapMax=0
OOMPolicy=stop
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=full
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes

[Install]
WantedBy=multi-user.target
"""


def systemd_unit(config: AgentConfig, config_path: Path, *, python: str, user: str) -> str:
    """The unit's text.

    Args:
        config: what the agent is configured to do.
        config_path: where that stands.
        python: the interpreter that has edgeloop.
        user: whom it runs as.
    """
    config_path = config_path.resolve()
    words = [python, "-m", "edgeloop", "agent", str(config_path)]
    return _UNIT.format(
        config=config_path,
        name=f"edgeloop-{config.device}",
        device=config.device,
        command=" ".join(_quoted(word) for word in words),
        directory=_escaped(str(config_path.parent)),
        user=user,
        watchdog_s=config.service.watchdog_s,
        memory_max_mb=config.service.memory_max_mb,
    )


def _escaped(text: str) -> str:
    """With systemd's specifiers taken literally (systemd.unit(5))."""
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """A word of a command line (systemd.service(5), "COMMAND LINES")."""
    word = _escaped(word).replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_@%$+=:,./-]+", word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
