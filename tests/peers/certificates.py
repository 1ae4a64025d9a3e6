"""Makes the certificates of one test: good ones, and those that nobody should accept."""
import collections
import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Pair = collections.namedtuple("Pair", "certificate key")  # paths of PEM files

DAY = datetime.timedelta(days=1)
HERE = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1"))]
ELSEWHERE = [x509.DNSName("elsewhere.example")]


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Certificates:
    """`ca` signed all but one: `server` and `client` are good, `expired` is a server's that was good
    yesterday, `misnamed` a server's of another host. `foreign_ca` signed `foreign`, which is good for a server
    and a client of those who trust it."""

    def __init__(self, directory):
        self._directory = directory
        self._now = datetime.datetime.now(datetime.timezone.utc)
        self._signers = {}
        self.ca = self._make("ca")
        self.foreign_ca = self._make("foreign-ca")
        self.server = self._make("server", "ca", HERE)
        self.client = self._make("client", "ca")
        self.expired = self._make("expired", "ca", HERE, until=-DAY / 24)
        self.misnamed = self._make("misnamed", "ca", ELSEWHERE)
        self.foreign = self._make("foreign", "foreign-ca", HERE)

    def _make(self, name, issuer=None, hosts=(), until=DAY):
        """Without an issuer it signs itself, and others."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._signers[name] = key
        builder = (x509.CertificateBuilder()
                   .subject_name(_name(name))
                   .issuer_name(_name(issuer or name))
                   .public_key(key.public_key())
                   .serial_number(x509.random_serial_number())
                   .not_valid_before(self._now - 2 * DAY)
                   .not_valid_after(self._now + until)
                   .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True))
        if issuer is not None:
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        certificate = builder.sign(self._signers[issuer or name], hashes.SHA256())

        pair = Pair(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                               serialization.NoEncryption()))
        pair.key.chmod(0o600)
        return pair
