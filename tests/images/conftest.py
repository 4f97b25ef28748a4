"""The whole compose file, started once; and a TLS proxy in front, as the file asks for."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.images import compose
from tests.images.compose import PATIENCE, Container
from tests.services import Postgres, Redis, listens
from tests.stories.conftest import *  # noqa: F403 - fixtures
from tests.stories.nursery import await_that
from tests.stories.provider import Officer
from tests.stories.proxy import Answer, Proxy, Request

PORTS: Final = {"web": 8000, "database": 5432, "broker": 6379, "witness": 8765}
VALUES: Final = {
    "POSTGRES_PASSWORD": "6f1d0c2b9a8e7f60", "REDIS_PASSWORD": "0a1b2c3d4e5f6071",
    "LEDGER_ORIGIN": "ledger.example/log", "LEDGER_ALLOWED_HOSTS": "ledger.example",
    "LEDGER_SECURITY_CONTACT": "mailto:security@ledger.example",
    "LEDGER_METRICS_TOKEN": "5d3c1b2a0f9e8d7c", "WITNESS_NAME": "witness.example/w1",
}  # fmt: skip


class Database(Postgres):
    """As the image `postgres` sets it up: its user owns the server."""

    def prepare(self) -> None:
        self.port = PORTS["database"]
        super().prepare()

    def start(self) -> None:
        super().start()
        if not self.sql("SELECT 1 FROM pg_roles WHERE rolname = 'ledger'"):
            self.sql(f"CREATE ROLE ledger SUPERUSER LOGIN PASSWORD '{VALUES['POSTGRES_PASSWORD']}'")


class Broker(Redis):
    """With the compose file's own command."""

    def __init__(self, folder: Path, given: dict[str, Any]) -> None:
        self._command = given["command"]
        super().__init__(folder)
        self.port = PORTS["broker"]

    def commands(self) -> list[list[str]]:
        return [self._command]


class TlsProxy(Proxy):
    """What ends TLS in front of the web server, and says so to it."""

    def __init__(self, port: int, certificate: Path) -> None:
        super().__init__(port)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.address = f"https://localhost:{self._server.server_address[1]}"

    def _forward(self, request: Request) -> Answer:
        request.headers = [*request.headers, ("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "127.0.0.1")]
        return super()._forward(request)


class TokenOfficer(Officer):
    """Where second factors are required, programs have tokens."""

    def __init__(self, address: str, token: str) -> None:
        self._http = httpx2.Client(
            base_url=f"{address}/api/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    def await_window(self, window: str, *states: str) -> Any:
        await_that(
            lambda: self.get(f"windows/{window}")["state"] in states,
            PATIENCE,
            lambda: self.get(f"windows/{window}"),
        )
        return self.get(f"windows/{window}")


class Deployment:
    """Every service of the compose file, started in the order that it says."""

    def __init__(self, place: Path, release: Path, database: Database) -> None:
        self.place, self.release, self.database = place, release, database
        self.containers: dict[str, Container] = {}
        self.values = dict(VALUES)
        self.given = compose.services(self.values)

    def container(self, name: str, **mounts: Any) -> Container:
        """A container of a service, not started."""
        return Container(self.place, name, self.given[name], **mounts)

    def manage(self, *command: str, **mounts: Any) -> str:
        """A management command, as the documentation says: in a container of worker-cpu. Its output."""
        one = Container(self.place, "manage", self.given["worker-cpu"], **mounts)
        done = one.run("python3", "manage.py", *command)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        return done.stdout

    def up(self, name: str) -> None:
        """A service and, before it, all that it depends on."""
        for other, how in self.given[name].get("depends_on", {}).items():
            if other not in self.containers and other not in {"database", "broker"}:
                self.up(other)
            if how["condition"] == "service_completed_successfully":
                assert self.containers[other].wait() == 0, self.containers[other].text[-3000:]
            else:
                self._await(other)
        self.containers[name] = self.container(name)
        self.containers[name].start()

    def _await(self, name: str) -> None:
        """PostgreSQL and Redis are processes here: their health checks run beside them."""
        environment = os.environ | self.given[name]["environment"] | {"PGHOST": "127.0.0.1"}

        def asked() -> subprocess.CompletedProcess[bytes]:
            words = compose.healthcheck(self.given[name])
            return subprocess.run(words, env=environment, capture_output=True, check=False)

        await_that(lambda: asked().returncode == 0, PATIENCE, asked)

    def witness_key(self) -> str:
        """The witness's first start makes its key; it is not yet told of a log."""
        words = self.given["witness"]["command"]
        done = self.container("witness").run(*self.image_entry("witness"), *words[: words.index("--log")])
        assert done.returncode == 0, done.stderr
        return done.stdout.split("witness key: ")[1].strip()

    def image_entry(self, name: str) -> list[str]:
        return list(compose.image(self.given[name]["image"]).config["Entrypoint"])

    def settle(self, **values: str) -> None:
        """Change docker/.env."""
        self.values |= values
        self.given = compose.services(self.values)

    def close(self) -> None:
        for one in self.containers.values():
            one.kill()


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder that other users may enter."""
    if (name := compose.missing()) or os.getuid() != 0:
        pytest.skip(f"{name or 'root'} is missing: make image-tools, then make images, as root")
    for service in (Postgres, Redis):
        if service.missing():
            pytest.skip(f"{service.missing()} is not installed: make image-tools")
    taken = [port for port in PORTS.values() if listens(port)]
    assert not taken, (
        f"ports {taken} are somebody's: these tests want a network of their own, as `make images` makes"
    )
    with tempfile.TemporaryDirectory(prefix="images-") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "hosts").write_text("127.0.0.1 localhost database broker witness.example\n")
        yield Path(folder)
        compose.unmount()


@pytest.fixture(scope="session")
def certificate(place: Path) -> Path:
    """Of the proxy, and trusted by every program of this run that speaks TLS."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
    )
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1)).add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = place / "proxy.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, plain) + made.public_bytes(serialization.Encoding.PEM)
    )
    os.environ["SSL_CERT_FILE"] = str(path)
    return path


@pytest.fixture(scope="session")
def deployment(place: Path, certificate: Path, release_folder: Path) -> Iterator[Deployment]:
    """Database, broker, tables and keys, the witness, then everything else."""
    database = Database(place / "postgres")
    whole = Deployment(place, release_folder, database)
    with database, Broker(place / "redis", whole.given["broker"]):
        try:
            whole.settle(LEDGER_WITNESSES=f"http://localhost:{PORTS['witness']} {whole.witness_key()}")
            whole.up("web")
            said = whole.manage("init")  # again: prints the keys that `prepare` made
            whole.settle(LOG_VKEY=said.split("log key: ")[1].splitlines()[0])
            for name in ("witness", "worker-cpu", "worker-prover"):
                whole.up(name)
            whole.containers["web"].await_health()
            yield whole
        finally:
            whole.close()


@pytest.fixture(scope="session")
def proxy(deployment: Deployment, certificate: Path) -> Iterator[TlsProxy]:
    with TlsProxy(PORTS["web"], certificate) as proxy:
        yield proxy


_TOKEN: Final = """
from django.contrib.auth.models import User
from ledger.access import tokens
owner, _ = User.objects.get_or_create(username="root", is_staff=True, is_superuser=True)
print(tokens.make(owner, "tests", "administrator", 1)[1])
"""


@pytest.fixture(scope="session")
def officer(deployment: Deployment, proxy: TlsProxy) -> Iterator[TokenOfficer]:
    token = deployment.manage("shell", "--no-imports", "-c", _TOKEN).split()[-1]
    with TokenOfficer(proxy.address, token) as officer:
        yield officer
