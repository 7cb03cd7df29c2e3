"""The embedded PostgreSQL server of a data directory: makes, starts, restarts and stops it.

Its rules:

- No existing permission is widened.
- Only the user of the service can connect, by peer authentication on a socket in a folder of mode 0700. There is no TCP
  port.
- The role of the service is not a superuser.
- The server does not outlive its service. If the watchdog was killed, too, the next service takes the server over.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path

import msgspec
import psutil

from smartmob.errors import DatabaseError
from smartmob.kernel.embedded import account as accounts
from smartmob.kernel.embedded import binaries, process_end, roles
from smartmob.kernel.embedded.postgres_watchdog import PostgresWatchdog
from smartmob.kernel.embedded.roles import ADMIN, DATABASE, ROLE, UPGRADER
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime.tasks import TaskRegistry

log = get_logger()

_START_SECONDS = 120  # a start after a crash replays the log
_STOP_SECONDS = 30
_LAST_LOG_LINES = 8  # in the message of a failed start
_LAST_OUTPUT_CHARACTERS = 2000
_SOCKET_PATH_BYTES = 107  # sun_path of a unix socket has 108 bytes with the final NUL, unix(7)
_SOCKET_NAME = ".s.PGSQL.5432"
_RESTART_DELAYS_SECONDS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)

_INITDB_OPTIONS = (
    "--auth=peer",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
)

_CONFIGURATION = """\
# smartmob writes this file at each start. ALTER SYSTEM overrides it.
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = 64MB
effective_io_concurrency = 16
max_wal_size = 1GB
min_wal_size = 80MB
checkpoint_completion_target = 0.9
random_page_cost = 1.1
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_truncate_on_rotation = on
log_rotation_age = 1d
log_rotation_size = 0
log_line_prefix = '%m [%p] '
"""

_ACCESS = f"""\
# TYPE  DATABASE  USER  METHOD: only users of pg_ident.conf, only on the socket
local   all       {ROLE},{ADMIN},{UPGRADER}  peer map=smartmob
local   replication {ADMIN} peer map=smartmob
"""


class Address(msgspec.Struct, frozen=True):
    """The address of a database: the folder of the unix socket, the role and the name of the database."""

    host: str
    user: str
    database: str


class EmbeddedPostgres:
    """A PostgreSQL server in the folder `home`, which only one service may use at a time.

    After `start` you must `stop`. Until then, a server that dies is started again.
    """

    def __init__(self, home: Path, tasks: TaskRegistry) -> None:
        self.home = home
        self._tasks = tasks
        self._account: accounts.DatabaseUser
        self._bin = Path()
        self._folder: int | None = None
        self._path_for_server = str(home)
        self._path_for_client = str(home)
        self.watchdog = PostgresWatchdog(home)
        self._watching: list[asyncio.Task[None]] = []
        self._begun: Future[bool] | None = None
        self._stopping = False
        # Cancelling the task of a restart does not interrupt its thread: `stop` waits for it with this lock.
        self._pg_ctl_lock = threading.Lock()

    async def start(self) -> Address:
        """Start the server, or take over one that runs, and return the address of the service's database.

        Raises DatabaseError.
        """
        begun, self._begun = self._begun, None
        taken_over = await (self._bring_up() if begun is None else asyncio.wrap_future(begun))
        log.info("database.started", embedded=True, pid=self.pid(), taken_over=taken_over)
        self._watching = [
            self._tasks.supervise("embedded-postgres", self._keep_alive),
            self._tasks.supervise("watchdog-of-postgres", self._keep_watchdog),
        ]
        return Address(self._socket_folder, ROLE, DATABASE)

    @property
    def _socket_folder(self) -> str:
        return f"{self._path_for_client}/socket"

    def begin(self) -> None:
        """Begin to start the server in a thread, while this process imports the rest of its program.

        `start` then waits for the thread, and raises its errors. Without `start` you must `abandon` it. Until one of
        them has returned, this process must not fork without executing another program.
        """
        begun = self._begun = Future[bool]()

        def run() -> None:
            try:
                begun.set_result(asyncio.run(self._bring_up()))
            except BaseException as error:  # `start` raises it
                begun.set_exception(error)

        threading.Thread(target=run, name="embedded-postgres").start()

    def abandon(self) -> None:
        """Stop a server that `begin` has started and that `start` has not taken over from it."""
        begun, self._begun = self._begun, None
        if begun is None:
            return
        self._stopping = True
        if begun.exception() is None:
            self._shut_down()
        self.watchdog.release(_STOP_SECONDS)
        self._release()

    async def _bring_up(self) -> bool:
        """Start the server, or take over one that runs, and arrange its roles; return whether one ran.

        Raises DatabaseError.
        """
        await asyncio.to_thread(self._locate)
        if not self.made:
            await asyncio.to_thread(self._initialise)
        self._check_version()
        await self.watchdog.wait_for_earlier()
        await self._wait_for_shutdown()
        taken_over = self.pid() is not None
        self.watchdog.start(self._account)
        await asyncio.to_thread(self._reload if taken_over else self._launch)
        await roles.arrange(self._socket_folder)
        return taken_over

    async def stop(self) -> None:
        """Stop the server and wait for its end. Open transactions are rolled back."""
        self._stopping = True
        for task in self._watching:
            task.cancel()
        try:
            await asyncio.to_thread(self._shut_down)
        except DatabaseError as error:
            log.warning("database.stop_failed", embedded=True, reason=str(error))
            self.stop_at_once()
        await asyncio.to_thread(self.watchdog.release, _STOP_SECONDS)
        log.info("database.stopped", embedded=True)
        self._release()

    def stop_at_once(self) -> None:
        """Stop the server without a checkpoint. The next start replays its log."""
        self._stopping = True
        if (pid := self.pid()) is not None:
            os.kill(pid, signal.SIGQUIT)

    @property
    def made(self) -> bool:
        """Return whether the cluster exists."""
        return (self.home / "cluster" / "PG_VERSION").exists()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptors that a program must inherit to use the address."""
        return () if self._folder is None else (self._folder,)

    def pid(self) -> int | None:
        """Return the process id of the running server, or None."""
        try:
            pid = int((self.home / "cluster" / "postmaster.pid").read_text().split("\n", 1)[0])
            process = psutil.Process(pid)
            running = (
                process.name().startswith("postgres")
                and process.status() != psutil.STATUS_ZOMBIE
                # By now, the id may belong to a server of another folder.
                and os.path.samefile(process.cwd(), self.home / "cluster")
            )
        except (OSError, ValueError, psutil.Error):
            return None
        return pid if running else None

    # -- making and starting ------------------------------------------------------------------------------------

    def _locate(self) -> None:
        """Find the account and the programs, and make the folders."""
        self._account = account = accounts.find()
        self._make_folder(self.home)
        self._bin = binaries.find(account, folders=(self.home.parent, Path("/var/lib/smartmob")))
        self._folder = os.open(self.home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # A folder that the account cannot reach (below a folder of root with mode 0700), or whose path is too long for
        # a socket, is addressed by its open descriptor, so no permission has to be widened.
        through_descriptor = f"/proc/self/fd/{self._folder}"
        long_name = self._has_long_name()
        if long_name or not self._reachable():
            if not Path(through_descriptor).exists():
                raise DatabaseError(
                    f"the embedded database cannot be stored in {self.home}: its path is too long for a socket, or "
                    f"closed to the user {account.name!r}. Name another folder with --data-dir, or use --database-url."
                )
            self._path_for_server = through_descriptor
            self._path_for_client = through_descriptor if long_name else str(self.home)
        for name in ("socket", "log"):
            self._make_folder(self.home / name)
        # initdb writes beside the final path, so that a cluster is either complete or does not exist.
        shutil.rmtree(self.home / "cluster.new", ignore_errors=True)

    def _has_long_name(self) -> bool:
        return len(os.fsencode(self.home / "socket" / _SOCKET_NAME)) > _SOCKET_PATH_BYTES

    def _make_folder(self, path: Path) -> None:
        if path.exists():
            return
        path.mkdir(mode=0o700)
        if self._account.foreign:
            os.chown(path, self._account.uid, self._account.gid)

    def _reachable(self) -> bool:
        """Return whether the account of the server can reach `home`."""
        return not self._account.foreign or (
            subprocess.run(
                ["/usr/bin/test", "-x", self.home], check=False, cwd="/", timeout=30, **self._account.popen_options()
            ).returncode
            == 0
        )

    def _initialise(self) -> None:
        """Make the cluster with initdb."""
        self._run("initdb", "-D", self._server_path("cluster.new"), "-U", ADMIN, *_INITDB_OPTIONS)
        new = self.home / "cluster.new"
        with (new / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.write("\ninclude_if_exists = 'smartmob.conf'\n")
        new.rename(self.home / "cluster")

    def _check_version(self) -> None:
        version = (self.home / "cluster" / "PG_VERSION").read_text().strip()
        if version != str(binaries.MAJOR):
            raise DatabaseError(
                f"{self.home} was made by PostgreSQL {version}, and this smartmob brings PostgreSQL {binaries.MAJOR}. "
                "Dump it with the smartmob that made it and restore it into a new data directory."
            )

    def _launch(self) -> None:
        """Start the server and wait until it accepts connections; raises DatabaseError."""
        with self._pg_ctl_lock:
            if self._stopping:
                return
            self._reap_earlier()
            self._write_configuration()
            self.watchdog.send_state("starting")
            try:
                options = ["-l", self._server_path("log/start.log"), "-o", f"-k '{self._server_path('socket')}'"]
                self._pg_ctl("start", "-w", "-t", str(_START_SECONDS), *options)
            except DatabaseError as error:
                raise DatabaseError(f"{error}\n{self._last_log_lines()}".rstrip()) from None
            self.watchdog.send_state("running")

    def _reload(self) -> None:
        """Make a running server read its configuration again, which an earlier smartmob may have written."""
        with self._pg_ctl_lock:
            self._write_configuration()
            self._pg_ctl("reload")

    def _reap_earlier(self) -> None:
        """Reap an ended server that is a child of this process, as in process 1 of a container.

        PostgreSQL takes such a zombie for a running server.
        """
        try:
            pid = int((self.home / "cluster" / "postmaster.pid").read_text().split("\n", 1)[0])
            if pid > 0:
                os.waitpid(pid, os.WNOHANG)
        except (OSError, ValueError, OverflowError):
            pass  # the file does not exist, or the server is not a child of this process

    def _shut_down(self) -> None:
        """Stop the server and wait for the end of its process; raises DatabaseError."""
        with self._pg_ctl_lock:
            pid = self.pid()
            if pid is None:
                return
            self._pg_ctl("stop", "-m", "fast", "-w", "-t", str(_STOP_SECONDS))
            # pg_ctl waits for the removal of postmaster.pid, which the process survives by a moment.
            if not process_end.ended_within(pid, _STOP_SECONDS):
                raise DatabaseError(f"process {pid} of the embedded PostgreSQL has not ended after {_STOP_SECONDS} s")

    def _write_configuration(self) -> None:
        names = dict.fromkeys((self._account.ours, self._account.name))
        mapping = "".join(f'smartmob "{name}" {role}\n' for name in names for role in (ROLE, ADMIN, UPGRADER))
        texts = {"smartmob.conf": _CONFIGURATION, "pg_hba.conf": _ACCESS, "pg_ident.conf": mapping}
        for name, text in texts.items():
            path = self.home / "cluster" / name
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                if self._account.foreign:
                    os.fchown(file.fileno(), self._account.uid, self._account.gid)

    def _last_log_lines(self) -> str:
        logs = [self.home / "log" / "start.log", *(self.home / "cluster" / "log").glob("*.log")]
        written = [path for path in logs if path.exists() and path.stat().st_size]
        if not written:
            return ""
        newest = max(written, key=lambda path: path.stat().st_mtime)
        return "\n".join(newest.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LOG_LINES:])

    def _server_path(self, name: str) -> str:
        """Return the path of a file in `home` as the server reaches it."""
        return f"{self._path_for_server}/{name}"

    def _pg_ctl(self, verb: str, *options: str) -> None:
        self._run("pg_ctl", verb, "-D", self._server_path("cluster"), "-s", *options)

    def _run(self, program: str, *arguments: str) -> None:
        """Run a program of PostgreSQL as the account of the server; raises DatabaseError with its output."""
        assert self._folder is not None
        output = self.home / "log" / f"{program}.out"
        # The server that pg_ctl starts inherits its standard output: a pipe would not end, but a file can be read.
        with output.open("w+b") as file:
            try:
                result = subprocess.run(
                    [self._bin / program, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    check=False,
                    cwd="/",
                    env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
                    pass_fds=[self._folder],
                    timeout=_START_SECONDS + _STOP_SECONDS,
                    **self._account.popen_options(),
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise DatabaseError(f"the embedded PostgreSQL: {program}: {error}") from None
        if result.returncode:
            text = output.read_text(encoding="utf-8", errors="replace").strip()
            raise DatabaseError(
                f"the embedded PostgreSQL: {program} failed ({result.returncode}): {text[-_LAST_OUTPUT_CHARACTERS:]}"
            )

    def _release(self) -> None:
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    # -- watching -----------------------------------------------------------------------------------------------

    async def _wait_for_shutdown(self) -> None:
        """Wait until a server of an earlier service that is shutting down has ended; raises DatabaseError."""
        pid = self.pid()
        if pid is None or "stopping" not in (self.home / "cluster" / "postmaster.pid").read_text():
            return
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process_end.ended(pid)
        except TimeoutError:
            raise DatabaseError(
                f"the database of an earlier service (process {pid}) is still shutting down; start again after that"
            ) from None

    async def _keep_watchdog(self) -> None:
        """Start the watchdog again whenever it has ended."""
        while (pid := self.watchdog.pid) is not None:
            await process_end.ended(pid)
            log.warning("database.watchdog_died", embedded=True, pid=pid)
            await asyncio.sleep(_RESTART_DELAYS_SECONDS[1])
            self.watchdog.start(self._account)

    async def _keep_alive(self) -> None:
        """Start the server again whenever it has ended."""
        failures = 0
        while True:
            if (pid := self.pid()) is not None:
                failures = 0
                await process_end.ended(pid)
                log.warning("database.died", embedded=True, pid=pid)
            await asyncio.sleep(_RESTART_DELAYS_SECONDS[min(failures, len(_RESTART_DELAYS_SECONDS) - 1)])
            try:
                await asyncio.to_thread(self._launch)
            except DatabaseError as error:
                failures += 1
                log.error("database.restart_failed", embedded=True, reason=str(error), failures=failures)
            else:
                log.info("database.started", embedded=True, pid=self.pid(), taken_over=False)


class JoinedPostgres(EmbeddedPostgres):
    """The server of a data directory on which a service runs. It is used, and neither started nor stopped."""

    async def start(self) -> Address:
        """Return the address of the running server. Raises DatabaseError when none runs."""
        if self.pid() is None:
            raise DatabaseError(
                f"no embedded database runs in {self.home.parent}. If the service there uses a PostgreSQL of yours, "
                "give its address with --database-url-file; else try again in a moment."
            )
        try:
            self._folder = os.open(self.home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise DatabaseError(
                f"{self.home} cannot be read: {error.strerror}. Run this as the service's user."
            ) from None
        if self._has_long_name():
            self._path_for_client = f"/proc/self/fd/{self._folder}"
        return Address(self._socket_folder, ROLE, DATABASE)

    async def stop(self) -> None:
        """Stop using the server, which keeps running."""
        self._release()
