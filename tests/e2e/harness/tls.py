"""A throw-away certificate authority and a certificate for localhost, made once per test session."""

import ssl
import subprocess


class Certificates:
    def __init__(self, directory):
        self.authority = directory / "authority.pem"
        self.certificate = directory / "localhost.pem"
        self.key = directory / "localhost.key"
        authority_key, request = directory / "authority.key", directory / "localhost.csr"
        names = directory / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

        def openssl(*arguments):
            subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

        openssl("req", "-x509", *key, "-keyout", authority_key, "-out", self.authority, "-days", 2,
                "-subj", "/CN=throw-away authority")
        openssl("req", *key, "-keyout", self.key, "-out", request, "-subj", "/CN=localhost")
        openssl("x509", "-req", "-in", request, "-CA", self.authority, "-CAkey", authority_key,
                "-CAcreateserial", "-days", 2, "-extfile", names, "-out", self.certificate)

    def context(self):
        """For clients: trusts this authority and nobody else."""
        return ssl.create_default_context(cafile=str(self.authority))
