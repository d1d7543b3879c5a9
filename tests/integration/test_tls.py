"""TLS between callers, services and worker, with certificates made for the occasion."""

import asyncio
import datetime
import ipaddress
import os
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dutyloop.hazard.v1 import hazard_pb2
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.process import write_private
from infra.embedded.temporal import EmbeddedTemporal
from services.kit.settings import Settings, SettingsError
from services.kit.tls import channel_credentials, is_local, server_credentials
from tests.integration.conftest import NewDatabase
from tests.integration.house import RunningHouse, running_house
from tests.integration.people import City, settle

LIFETIME = datetime.timedelta(hours=1)


def named(name: str) -> x509.Name:
    """Return a distinguished name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass(frozen=True)
class Authority:
    """An authority that issues certificates for this machine."""

    name: str
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, name: str) -> "Authority":
        """Make an authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _builder(name, name, key).add_extension(x509.BasicConstraints(True, None), critical=True)
        return cls(name, key, certificate.sign(key, hashes.SHA256()))

    def issue(self, folder: Path) -> None:
        """Write ``server.crt`` and ``server.key`` for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        local = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = _builder("dutyloop", self.name, key).add_extension(local, critical=False)
        signed = certificate.sign(self.key, hashes.SHA256())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(folder / "server.key", pem)
        (folder / "server.crt").write_bytes(signed.public_bytes(Encoding.PEM))

    def vouch(self, file: Path) -> Path:
        """Write the authority's own certificate."""
        file.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return file


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - LIFETIME)
        .not_valid_after(now + LIFETIME)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the server's certificate, its key and its authority."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority.new("authority")
    authority.issue(folder)
    authority.vouch(folder / "ca.crt")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(
    postgres: EmbeddedPostgres, new_database: NewDatabase, temporal: EmbeddedTemporal, keys: Path, folder: Path
) -> AsyncIterator[RunningHouse]:
    """A house whose services, worker and callers all speak TLS."""
    files = {"tls_certificate_file": "server.crt", "tls_key_file": "server.key", "tls_ca_file": "ca.crt"}
    paths = {name: folder / file for name, file in files.items()}
    async with running_house(await new_database(), postgres.secrets_dir, temporal, keys, **paths) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def city(house: RunningHouse) -> City:
    """Two small cities in that house."""
    return await settle(house)


async def answers(address: str, credentials: grpc.ChannelCredentials | None) -> bool:
    """Tell whether a caller gets an answer."""
    channel = grpc.aio.secure_channel(address, credentials) if credentials else grpc.aio.insecure_channel(address)
    try:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        return False
    finally:
        await channel.close(None)
    return True


async def test_the_house_works_over_tls(city: City) -> None:
    """A part that still spoke clear text would find nobody: services no directory, cases no record."""
    hazard = await city.reports()
    request = hazard_pb2.AssignHazardRequest(request_id=uuid.uuid4().hex, name=hazard.name, unit=city.home.enterprise)
    answer = await city.supervisor.calls(city.house.hazard.AssignHazard, request)
    assert answer.state == hazard_pb2.HAZARD_STATE_ASSIGNED


async def test_the_command_line_speaks_tls(house: RunningHouse, city: City, folder: Path, tmp_path: Path) -> None:
    """Operators would be told that nothing answers."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("DUTYLOOP_")}
    told = {
        "DUTYLOOP_API_ADDRESS": house.settings.api_address,
        "DUTYLOOP_ISSUER_KEY_FILE": str(house.settings.issuer_key_file),
        "DUTYLOOP_DATA_DIR": str(tmp_path),
        "DUTYLOOP_TLS_CA_FILE": str(folder / "ca.crt"),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli.main", "call", "directory.GetClock"),
        env=own | told,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    assert b'"time"' in output


async def test_clear_text_and_other_authorities_get_no_answer(house: RunningHouse, tmp_path: Path) -> None:
    """Somebody in between could read every token, or pass for the house."""
    address = house.settings.listen_address
    assert await answers(address, channel_credentials(house.settings, address))
    assert not await answers(address, None)
    other = Settings(tls_ca_file=Authority.new("authority").vouch(tmp_path / "other.crt"))
    assert not await answers(address, channel_credentials(other, address))


async def test_a_renewed_certificate_needs_no_restart(house: RunningHouse, folder: Path, tmp_path: Path) -> None:
    """Every renewal would be an outage, or a forgotten restart one three months later."""
    address = house.settings.listen_address
    kept = {name: (folder / name).read_bytes() for name in ("server.crt", "server.key")}
    later = Authority.new("later")
    trusting = channel_credentials(Settings(tls_ca_file=later.vouch(tmp_path / "later.crt")), address)
    former = channel_credentials(house.settings, address)
    try:
        assert not await answers(address, trusting)
        (folder / "server.crt").write_text("half written")
        assert await answers(address, former)
        later.issue(folder)
        assert await answers(address, trusting)
        assert not await answers(address, former)
    finally:
        write_private(folder / "server.key", kept["server.key"])
        (folder / "server.crt").write_bytes(kept["server.crt"])
    assert await answers(address, former)


@pytest.mark.parametrize("address", ["0.0.0.0:7400", "[::]:7400", "10.0.0.7:7400", "services.example:7400", "x"])
def test_clear_text_leaves_the_machine_only_when_told_to(address: str) -> None:
    """A service moved to a host of its own would send and take tokens that anybody on the way can use."""
    assert not is_local(address)
    with pytest.raises(SettingsError, match=r"^DUTYLOOP_LISTEN_ADDRESS=.* in clear text .*DUTYLOOP_ALLOW_PLAINTEXT=1"):
        server_credentials(Settings(listen_address=address))
    with pytest.raises(SettingsError, match=r"^tokens would be sent to .* set DUTYLOOP_TLS_CA_FILE "):
        channel_credentials(Settings(), address)
    behind_a_mesh = Settings(listen_address=address, allow_plaintext=True)
    assert server_credentials(behind_a_mesh) is None
    assert channel_credentials(behind_a_mesh, address) is None


@pytest.mark.parametrize("address", ["127.0.0.1:7400", "[::1]:7400", "localhost:7400", "unix:/run/dutyloop.sock"])
def test_on_one_machine_clear_text_is_fine(address: str) -> None:
    """``make up`` would need certificates."""
    assert server_credentials(Settings(listen_address=address)) is None
    assert channel_credentials(Settings(), address) is None


def test_half_a_configuration_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    """The operator would see failing handshakes and no reason for them."""
    certificate, key = folder / "server.crt", folder / "server.key"
    with pytest.raises(SettingsError, match=r"^DUTYLOOP_TLS_KEY_FILE is not set$"):
        server_credentials(Settings(tls_certificate_file=certificate))
    with pytest.raises(SettingsError, match=r"^DUTYLOOP_TLS_CERTIFICATE_FILE is not set$"):
        server_credentials(Settings(tls_key_file=key))
    with pytest.raises(SettingsError, match=r"nothing\.crt cannot be read: No such file"):
        server_credentials(Settings(tls_certificate_file=tmp_path / "nothing.crt", tls_key_file=key))
    with pytest.raises(SettingsError, match=r"nothing\.crt cannot be read: No such file"):
        channel_credentials(Settings(tls_ca_file=tmp_path / "nothing.crt"), "127.0.0.1:1")
    with pytest.raises(SettingsError, match=r"are not a certificate and its key in PEM$"):
        server_credentials(Settings(tls_certificate_file=key, tls_key_file=key))
    Authority.new("other").issue(tmp_path)
    with pytest.raises(SettingsError, match=r"is not the key of the certificate"):
        server_credentials(Settings(tls_certificate_file=certificate, tls_key_file=tmp_path / "server.key"))
    (tmp_path / "server.key").chmod(0o644)
    with pytest.raises(SettingsError, match=r"server\.key holds a secret but is open to every user"):
        server_credentials(Settings(tls_certificate_file=tmp_path / "server.crt", tls_key_file=tmp_path / "server.key"))
