"""TLS between the parts, by settings: the certificate a server shows, and the authorities its callers trust.

Tokens open everything, so neither side sends them in clear text over a network unless it is told that
something else (a mesh, a proxy on the same host) encrypts.
"""

import ipaddress
from collections.abc import Callable
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.kit.secret_files import read_secret
from services.kit.settings import Settings, SettingsError, required


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """Return what the server proves itself with; None for plain text. Raises SettingsError on an unsafe combination.

    A certificate that is renewed in place is shown to new connections without a restart.
    """
    if settings.tls_certificate_file is None and settings.tls_key_file is None:
        if not (is_local(settings.listen_address) or settings.allow_plaintext):
            raise SettingsError("serves_in_clear", address=settings.listen_address)
        return None
    certificate = required(settings.tls_certificate_file, "tls_certificate_file")
    key = required(settings.tls_key_file, "tls_key_file")
    present = _stamp(certificate, key)
    return grpc.dynamic_ssl_server_credentials(
        _configuration(certificate, key),
        _renewal(certificate, key, present),  # type: ignore[arg-type]  # None means the last one: so gRPC documents it
    )


def channel_credentials(settings: Settings, address: str) -> grpc.ChannelCredentials | None:
    """Return what a caller checks servers with; None for plain text. Raises SettingsError on an unsafe combination."""
    if settings.tls_ca_file is not None:
        return grpc.ssl_channel_credentials(_read(settings.tls_ca_file))
    if not (is_local(address) or settings.allow_plaintext):
        raise SettingsError("calls_in_clear", address=address)
    return None


def is_local(address: str) -> bool:
    """Tell whether an address can be reached from this machine only."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _renewal(
    certificate: Path, key: Path, present: tuple[int, int]
) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    """Return what gRPC asks before each handshake: a new certificate, or None to go on with the last one."""
    shown = [present]

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        try:
            found = _stamp(certificate, key)
            if found == shown[0]:
                return None
            configuration = _configuration(certificate, key)
        except (SettingsError, OSError):
            return None  # half renewed: the next handshake looks again
        shown[0] = found
        return configuration

    return renewed


def _stamp(certificate: Path, key: Path) -> tuple[int, int]:
    try:
        return certificate.stat().st_mtime_ns, key.stat().st_mtime_ns
    except OSError as error:
        raise SettingsError("unreadable", path=error.filename, reason=error) from None


def _configuration(certificate: Path, key: Path) -> grpc.ServerCertificateConfiguration:
    chain, private = _read(certificate), read_secret(key)
    try:
        own = x509.load_pem_x509_certificates(chain)[0].public_key()
        fits = own == load_pem_private_key(private, password=None).public_key()
    except (ValueError, TypeError):
        raise SettingsError("not_a_certificate", certificate=certificate, key=key) from None
    if not fits:
        raise SettingsError("other_certificates_key", certificate=certificate, key=key)
    return grpc.ssl_server_certificate_configuration([(private, chain)])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError("unreadable", path=path, reason=error) from None
