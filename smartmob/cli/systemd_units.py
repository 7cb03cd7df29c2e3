"""Units of systemd, with a comment on each setting. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

STATE = "smartmob-report-host"
NODE_STATE = "smartmob-node"

_FAST_WORD = re.compile(r"[\w@+=:,./-]+", re.ASCII)
_NEEDS_ESCAPE = str.maketrans({"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$", "\n": "\\n", "\t": "\\t"})


class SystemdUnit(msgspec.Struct, frozen=True):
    """A unit: the program and its arguments, for the machine or for the `user` who is logged in."""

    program: str
    arguments: Sequence[str]
    user: bool = False
    token_file: str | None = None

    def service(self) -> str:
        """Return the unit of the service."""
        words = (self.program, "serve", *self._data_dir(), *self.arguments)
        return _text(self._head("smartmob, a performance lab in one service"), self._start(words), _SERVICE,
                     () if self.user else _SERVICE_OF_THE_MACHINE, _NO_PRIVILEGES,
                     () if self.user else _SERVICE_HARDENING, self._install())  # fmt: skip

    def agent(self) -> str:
        """Return the unit of the reporting agent."""
        words = (self.program, "report-host", *self._state_dir(), *self.arguments)
        return _text(self._head("Reports the load of this machine to smartmob"), self._start(words), _AGENT,
                     _NO_PRIVILEGES, () if self.user else _AGENT_HARDENING, self._install())  # fmt: skip

    def node(self) -> str:
        """Return the unit of a node: it runs programs like the service, as root or the user of the unit."""
        url, *further = self.arguments
        state = () if self.user else ("--state-dir", f"/var/lib/{NODE_STATE}")
        words = (self.program, "join", url, *state, *further)
        return _text(self._head("Makes this machine a node of smartmob"), self._start(words), _NODE,
                     () if self.user else _NODE_OF_THE_MACHINE, _NO_PRIVILEGES,
                     () if self.user else _SERVICE_HARDENING, self._install())  # fmt: skip

    def _head(self, description: str) -> Iterator[str]:
        yield from ("[Unit]", f"Description={description}")
        if not self.user:
            yield from ("Wants=network-online.target", "After=network-online.target")
        yield from ("", "[Service]")

    def _start(self, words: Sequence[str]) -> Iterator[str]:
        quoted = [quote(word) for word in words]
        if self.token_file is not None and self.user:
            quoted += ["--token-file", quote(self.token_file)]
        elif self.token_file is not None:
            yield "# systemd reads the token as root and shows it to this unit alone."
            yield f"LoadCredential=token:{self.token_file.translate(_NEEDS_ESCAPE)}"
            quoted += ["--token-file", "%d/token"]
        yield f"ExecStart={' '.join(quoted)}"

    def _data_dir(self) -> tuple[str, ...]:
        return () if self.user else ("--data-dir", "/var/lib/smartmob")

    def _state_dir(self) -> tuple[str, ...]:
        return () if self.user else ("--state-dir", f"/var/lib/{STATE}")

    def _install(self) -> Iterator[str]:
        yield from ("", "[Install]", f"WantedBy={'default' if self.user else 'multi-user'}.target")


def quote(word: str) -> str:
    """Return a word of a command line, quoted for systemd."""
    escaped = word.translate(_NEEDS_ESCAPE)
    return escaped if _FAST_WORD.fullmatch(word) else f'"{escaped}"'


def _text(*parts: Sequence[str] | Iterator[str]) -> str:
    return "\n".join(line for part in parts for line in part) + "\n"


_SERVICE = """\
# Started once it answers, which it reports by sd_notify. An embedded database may have to recover first.
Type=notify
TimeoutStartSec=300
# systemd restarts the service when its event loop has been blocked for this long.
WatchdogSec=30
Restart=on-failure
RestartSec=1
# 2 is wrong usage, which a restart does not correct.
RestartPreventExitStatus=2
# Reloads the certificate.
ExecReload=/bin/kill -HUP $MAINPID
# SIGTERM to the service alone, which ends its programs and its database in order. Processes that are left are killed.
KillMode=mixed
# The longest grace of a program, --stop-timeout for requests under way, and the database.
TimeoutStopSec=120
# Limits of programs are those of control groups below that of the service.
Delegate=cpu memory pids
# A program under test that eats all memory must not take the service with it.
OOMPolicy=continue
# Three descriptors for each program, one for each connection.
LimitNOFILE=65536
# Programs, what they start, and a process above each hundred of them.
TasksMax=infinity""".splitlines()

_SERVICE_OF_THE_MACHINE = """\
# Programs run as this user, too.
User=smartmob
StateDirectory=smartmob
StateDirectoryMode=0700
# Settings as SMARTMOB_NAME=value, and DATABASE_URL; optional.
EnvironmentFile=-/etc/smartmob/environment""".splitlines()

_NODE = """\
# Started once it runs its programs, also while the service that it has joined cannot be reached.
Type=notify
WatchdogSec=60
Restart=on-failure
RestartSec=10
# 2 is wrong usage and 3 a refusal of the service, which a restart does not correct.
RestartPreventExitStatus=2 3
# SIGTERM to the node alone, which ends its programs in order. Processes that are left are killed.
KillMode=mixed
TimeoutStopSec=120
# Limits of programs are those of control groups below that of the node.
Delegate=cpu memory pids
# A program under test that eats all memory must not take the node with it.
OOMPolicy=continue
LimitNOFILE=65536
TasksMax=infinity""".splitlines()

_NODE_OF_THE_MACHINE = """\
# Programs run as this user, too.
User=smartmob
StateDirectory=smartmob-node
StateDirectoryMode=0700
# Settings of programs and commands as SMARTMOB_NAME=value; optional.
EnvironmentFile=-/etc/smartmob/environment""".splitlines()

_AGENT = """\
# Started once it takes samples; they are stored while the service cannot be reached.
Type=notify
WatchdogSec=60
Restart=on-failure
RestartSec=10
# 2 is wrong usage, which a restart does not correct.
RestartPreventExitStatus=2
TimeoutStopSec=20""".splitlines()

_NO_PRIVILEGES = """\
# Neither it nor what it starts gains privileges, by sudo or otherwise.
NoNewPrivileges=yes""".splitlines()

_SERVICE_HARDENING = """\
# Holds for programs, too; so only what ordinary programs never miss. /usr, /boot and /etc cannot be written.
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
RestrictSUIDSGID=yes""".splitlines()

_AGENT_HARDENING = f"""\
# It starts nothing and reads what everybody may read: a user that exists while it runs, and next to no rights.
DynamicUser=yes
StateDirectory={STATE}
StateDirectoryMode=0700
ProtectHome=read-only
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
LockPersonality=yes
CapabilityBoundingSet=
SystemCallArchitectures=native
SystemCallFilter=@system-service
UMask=0077""".splitlines()
