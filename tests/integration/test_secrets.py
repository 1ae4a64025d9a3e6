"""What the scan of `make lint` takes for a secret, and what not."""
import sys
import unittest

from harness import ROOT

sys.path.insert(0, str(ROOT / "tests/lint"))
import secrets_in_tree  # noqa: E402

# Put together here, so that this file holds none.
SECRETS = (
    ("a private key", "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIEow"),
    ("a private key", "-----BEGIN PRIVATE" + " KEY-----\nMIIEow"),
    ("a key of AWS", "aws = AK" + "IAIOSFODNN7EXAMPLE"),
    ("a token of GitHub", "gh" + "p_" + "a1B2" * 9),
    ("a token of GitLab", "gl" + "pat-" + "a1B2" * 5),
    ("a token of Slack", "xo" + "xb-1234567890-abc"),
    ("a key of Google", "AI" + "za" + "a1B2c" * 7),
    ("a token of npm", "np" + "m_" + "a1B2" * 9),
    ("a token of PyPI", "py" + "pi-AgE" + "a1B2c" * 10),
    ("a key of Stripe", "sk" + "_live_" + "a1B2" * 4),
    ("a JSON Web Token", "ey" + "JhbGciOiJIUzI1NiJ9." + "ey" + "JzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"),
    ("a password in an address", "http://me:" + "hunter2" + "@host/"),
    ("a secret in an assignment", "api_" + "key = \"correct horse\"".replace(" horse", "-horse")),
    ("a text that looks drawn by chance", "x = " + "q7Zk1Rt9" + "Wm3Xv5Yb8Nc2Lp4Jd6Hg0Fs"),
)

NO_SECRETS = (
    "0af7651916cd43dd8448eb211c80319c",  # a trace id
    "cdd01ef066bc6cf2",
    "-----BEGIN CERTIFICATE-----\nMIIEow",
    "otlp.traces_client_certificate_and_its_key_of_some_length",
    "test_sandbox_seccomp_lets_through_what_the_daemon_does",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",  # in order
    "http://localhost:9847/metrics",
    "http://user@host/",
    "https://user:secret@host/",
    "password = read_password()",
    "",
)


class TestSecrets(unittest.TestCase):
    def test_secrets_are_found(self):
        for what, text in SECRETS:
            with self.subTest(what=what):
                self.assertIn(what, [found for _, found in secrets_in_tree.find(f"first line\n{text}\n")])

    def test_secrets_are_found_where_they_stand(self):
        what, text = SECRETS[2]
        self.assertEqual(list(secrets_in_tree.find(f"12345\n{text}")), [(12, what)])

    def test_secrets_are_not_seen_in_names_and_numbers(self):
        for text in NO_SECRETS:
            with self.subTest(text=text):
                self.assertEqual(list(secrets_in_tree.find(text)), [])


if __name__ == "__main__":
    unittest.main()
