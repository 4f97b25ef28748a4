"""Real services on free ports of this machine, as Debian packages them, each in a folder of its own.

    with Redis(folder) as redis: ... redis.url ... redis.kill() ... redis.start()

`make fault-tools` installs the packages. A service that is not installed says so in `missing()`, for tests to skip.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Final, Self

PATIENCE: Final = 180.0

#: For Debian's Python, which has Swift: each ring holds one device, d1.
_RINGS: Final = """
import json, sys
from swift.common.ring import RingBuilder
for path, port in json.loads(sys.argv[1]).items():
    builder = RingBuilder(4, 1, 0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "d1", "weight": 1})
    builder.rebalance()
    builder.get_ring().save(path)
"""


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Service:
    """Context manager. `programs` are what must be installed."""

    programs: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._running: list[subprocess.Popen[bytes]] = []
        self.prepare()

    @classmethod
    def missing(cls) -> str:
        """The first program that is not installed, or nothing."""
        return next((name for name in cls.programs if shutil.which(name) is None), "")

    def prepare(self) -> None:
        """Make what the service needs, once."""

    def commands(self) -> list[list[str]]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def ready(self) -> bool:
        return listens(self.port)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with (self.folder / "out.txt").open("ab") as out:
            self._running = [
                subprocess.Popen(
                    command, cwd=self.folder, env=os.environ | self.environment(), stdin=subprocess.DEVNULL,
                    stdout=out, stderr=out, start_new_session=True,
                )
                for command in self.commands()
            ]  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not self.ready():
            if time.monotonic() > deadline:
                self.kill()
                text = (self.folder / "out.txt").read_text()[-2000:]
                raise AssertionError(f"{type(self).__name__} did not start: {text}")
            time.sleep(0.1)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, number)
        for process in self._running:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._running = []

    def kill(self) -> None:
        """As a power failure would."""
        self.stop(signal.SIGKILL)


class Redis(Service):
    """A broker that keeps nothing when it dies."""

    programs = ("redis-server",)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def commands(self) -> list[list[str]]:
        given = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        return [["redis-server", *given, "--save", "", "--appendonly", "no"]]


class RabbitMq(Service):
    """A node of its own, without the machine's epmd."""

    programs = ("rabbitmq-server", "erl")

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def prepare(self) -> None:
        self._dist, self._epmd = free_port(), free_port()

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"ledger{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist),
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }

    def commands(self) -> list[list[str]]:
        return [["/usr/lib/rabbitmq/bin/rabbitmq-server"]]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        super().stop(number)
        # epmd leaves the group; nobody else uses this one's port.
        subprocess.run(
            ["epmd", "-port", str(self._epmd), "-kill"],
            check=False,
            capture_output=True,
            env=os.environ | self.environment(),
        )


class Postgres(Service):
    """A server with a superuser `admin`, who has a password, and an empty database `ledger`."""

    _BIN: Final = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/nowhere"))
    _PASSWORD: Final = "not-a-secret-of-anybody"

    @classmethod
    def missing(cls) -> str:
        return "" if (cls._BIN / "initdb").exists() and os.getuid() == 0 else "postgresql, as root"

    @property
    def url(self) -> str:
        return f"postgresql://admin:{self._PASSWORD}@127.0.0.1:{self.port}/ledger"

    def prepare(self) -> None:
        for folder in (self.folder, *self.folder.parents):  # the server's user must get there
            if folder.owner() == "root" and folder.stat().st_mode & 0o055 != 0o055:
                folder.chmod(folder.stat().st_mode | 0o055)
        self.data = self.folder / "data"
        (self.folder / "password").write_text(self._PASSWORD)
        shutil.chown(self.folder, "postgres")
        given = ["-D", str(self.data), "-U", "admin", "-A", "scram-sha-256", f"--pwfile={self.folder / 'password'}"]
        self.as_postgres("initdb", *given, "--locale=C.UTF-8", "-E", "UTF8")
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(f"\nport = {self.port}\nlisten_addresses = '127.0.0.1'\n")
            file.write(f"unix_socket_directories = '{self.folder}'\nwal_level = replica\n")

    def as_postgres(self, program: str, *given: str) -> str:
        """Run one of the server's programs as its user."""
        done = subprocess.run(
            ["runuser", "-u", "postgres", "--", str(self._BIN / program), *given],
            cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commands(self) -> list[list[str]]:
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        return [[*as_user, str(self._BIN / "postgres"), "-D", str(self.data)]]

    def start(self) -> None:
        super().start()
        self.sql("SELECT 1 FROM pg_database WHERE datname = 'ledger'") or self.sql("CREATE DATABASE ledger")

    def ready(self) -> bool:
        asked = ["-h", "127.0.0.1", "-p", str(self.port), "-q"]
        return subprocess.run([str(self._BIN / "pg_isready"), *asked], check=False).returncode == 0

    def sql(self, query: str, database: str = "postgres") -> Any:
        """Run one statement; its rows, if it has any."""
        import psycopg

        address = f"postgresql://admin:{self._PASSWORD}@127.0.0.1:{self.port}/{database}"
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else None

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        super().stop(signal.SIGINT if number == signal.SIGTERM else number)  # fast: ends sessions


class Swift(Service):
    """OpenStack Swift with its S3 interface, one replica on one folder: a real store behind a real S3 dialect."""

    programs = ("swift-proxy-server", "swift-object-server", "memcached")
    BUCKET: Final = "ledger"
    CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "test:tester", "AWS_SECRET_ACCESS_KEY": "testing"}
    _KINDS: Final = ("account", "container", "object")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """For LEDGER_BLOB_STORE."""
        return f"s3://{self.BUCKET}/some/prefix?endpoint={self.endpoint}&region=us-east-1"

    def prepare(self) -> None:
        (self.folder / "devices" / "d1").mkdir(parents=True, exist_ok=True)
        self._cache, rings = free_port(), {}
        for kind in self._KINDS:
            port = free_port()
            rings[str(self.folder / f"{kind}.ring.gz")] = port
            self._configure(kind, port, f"{kind}-server", {f"app:{kind}-server": {"use": f"egg:swift#{kind}"}})
        subprocess.run(["/usr/bin/python3", "-c", _RINGS, json.dumps(rings)], check=True, capture_output=True)
        filters = ("catch_errors", "gatekeeper", "cache", "listing_formats", "s3api", "tempauth", "copy", "slo")
        sections = {f"filter:{name}": {"use": f"egg:swift#{name}"} for name in filters}
        sections["filter:cache"] = {"use": "egg:swift#memcache", "memcache_servers": f"127.0.0.1:{self._cache}"}
        sections["filter:s3api"] |= {"location": "us-east-1"}
        sections["filter:tempauth"] |= {"user_test_tester": "testing .admin"}
        sections["app:proxy-server"] = {"use": "egg:swift#proxy", "account_autocreate": "true"}
        self._configure("proxy", self.port, " ".join((*filters, "proxy-server")), sections)

    def _configure(self, kind: str, port: int, pipeline: str, sections: dict[str, dict[str, str]]) -> None:
        everywhere = {
            "bind_ip": "127.0.0.1", "bind_port": str(port), "workers": "0", "user": "root",
            "swift_dir": str(self.folder), "devices": str(self.folder / "devices"), "mount_check": "false",
            "recon_cache_path": str(self.folder), "fallocate_reserve": "0",
        }  # fmt: skip
        whole = {"DEFAULT": everywhere, "pipeline:main": {"pipeline": pipeline}} | sections
        text = "".join(
            f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in pairs.items()) for name, pairs in whole.items()
        )
        (self.folder / f"{kind}.conf").write_text(text)

    def commands(self) -> list[list[str]]:
        servers = [[f"swift-{kind}-server", str(self.folder / f"{kind}.conf")] for kind in (*self._KINDS, "proxy")]
        return [["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(self._cache), "-m", "16"], *servers]

    def make_bucket(self) -> None:
        import boto3

        given = dict(zip(("aws_access_key_id", "aws_secret_access_key"), self.CREDENTIALS.values(), strict=True))
        client = boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", **given)
        client.create_bucket(Bucket=self.BUCKET)
        client.close()
