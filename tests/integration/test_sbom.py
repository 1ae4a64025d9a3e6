"""What the programs are made of, as `make sbom` says it, against what the files themselves and dpkg say."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

from harness import BUILD, ROOT, sanitized

SBOM = ROOT / "config/packaging/sbom.py"
VERSION = "1.2.3"

# Of SPDX 2.3: what an element must have (chapters 6 to 8 and 11), and the words that are taken for a relationship here.
DOCUMENT = {"spdxVersion", "dataLicense", "SPDXID", "name", "documentNamespace", "creationInfo"}
PACKAGE = {"SPDXID", "name", "downloadLocation"}
FILE = {"SPDXID", "fileName", "checksums"}
RELATIONSHIPS = {"DESCRIBES", "CONTAINS", "DEPENDS_ON", "STATIC_LINK", "BUILD_TOOL_OF"}
IDENTIFIER = re.compile(r"SPDXRef-[A-Za-z0-9.-]+")
PURL = re.compile(r"pkg:deb/debian/[a-z0-9+.-]+@[A-Za-z0-9.~%-]+\?arch=[a-z0-9]+")


def sbom(**environment):
    return subprocess.run([sys.executable, SBOM, BUILD, VERSION], cwd=ROOT, capture_output=True, text=True, check=True,
                          env={**os.environ, **environment}).stdout


@unittest.skipUnless(shutil.which("dpkg-query"), "this is no Debian system")
@unittest.skipIf(sanitized(), "what is handed out has no sanitizer")
class TestSbom(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = sbom(SOURCE_DATE_EPOCH="1769860800")
        cls.document = json.loads(cls.text)
        cls.packages = {package["name"]: package for package in cls.document["packages"]}
        cls.files = {file["fileName"]: file for file in cls.document["files"]}

    def related(self, kind):
        return {(relation["spdxElementId"], relation["relatedSpdxElement"])
                for relation in self.document["relationships"] if relation["relationshipType"] == kind}

    def test_sbom_has_what_spdx_demands(self):
        self.assertLessEqual(DOCUMENT, set(self.document))
        self.assertEqual((self.document["spdxVersion"], self.document["dataLicense"]), ("SPDX-2.3", "CC0-1.0"))
        self.assertRegex(self.document["documentNamespace"], r"^https://[^#]+$")
        self.assertEqual(self.document["creationInfo"]["created"], "2026-01-31T12:00:00Z")
        for creator in self.document["creationInfo"]["creators"]:
            self.assertRegex(creator, r"^(Tool|Organization|Person): ")
        for package in self.packages.values():
            self.assertLessEqual(PACKAGE, set(package))
            self.assertEqual(package["filesAnalyzed"], "packageVerificationCode" in package)
        for file in self.files.values():
            self.assertLessEqual(FILE, set(file))

    def test_sbom_names_are_unique_and_lead_somewhere(self):
        named = [element["SPDXID"] for element in (self.document, *self.document["packages"], *self.document["files"])]
        self.assertEqual(len(named), len(set(named)))
        for name in named:
            self.assertRegex(name, IDENTIFIER)
        for relation in self.document["relationships"]:
            self.assertIn(relation["relationshipType"], RELATIONSHIPS)
            self.assertIn(relation["spdxElementId"], named)
            self.assertIn(relation["relatedSpdxElement"], named)
        self.assertEqual(self.related("DESCRIBES"), {("SPDXRef-DOCUMENT", "SPDXRef-Package-dwell")})

    def test_sbom_sums_are_those_of_the_files(self):
        self.assertLessEqual({"./dwelld", "./dwell", "./libdwell.so.0", "./libdwell.a"}, set(self.files))
        for name, file in self.files.items():
            content = (BUILD / name).read_bytes()
            sums = {one["algorithm"]: one["checksumValue"] for one in file["checksums"]}
            self.assertEqual(sums["SHA256"], hashlib.sha256(content).hexdigest())
            self.assertIn(("SPDXRef-Package-dwell", file["SPDXID"]), self.related("CONTAINS"))

    def test_sbom_packages_are_those_that_dpkg_has(self):
        said = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\\n"], capture_output=True, text=True,
                              check=True).stdout
        installed = set(tuple(line.split(" ")) for line in said.splitlines())
        for name, package in self.packages.items():
            if name != "dwell":
                self.assertIn((name, package["versionInfo"]), installed)
                self.assertRegex(package["externalRefs"][0]["referenceLocator"], PURL)

    def test_sbom_has_a_package_for_every_library_that_a_file_names(self):
        for name, file in self.files.items():
            if name.endswith(".a"):
                continue
            shown = subprocess.run(["readelf", "-d", BUILD / name], capture_output=True, text=True, check=True).stdout
            needed = re.findall(r"\(NEEDED\).*\[(.*)\]", shown)
            self.assertTrue(needed)
            provided = {right for left, right in self.related("DEPENDS_ON") if left == file["SPDXID"]}
            holders = {library for package in self.packages.values() if package["SPDXID"] in provided
                       for library in self.libraries(package["name"])}
            self.assertLessEqual(set(needed), holders, name)

    def libraries(self, package):
        """The names of files of a package."""
        said = subprocess.run(["dpkg-query", "-L", package], capture_output=True, text=True, check=True).stdout
        return {pathlib.PurePath(line).name for line in said.splitlines()}

    def test_sbom_names_what_is_inside_and_what_built_it(self):
        self.assertIn(("SPDXRef-File-dwelld", "SPDXRef-Package-libxxhash-dev"), self.related("STATIC_LINK"))
        self.assertIn(("SPDXRef-Package-make", "SPDXRef-Package-dwell"), self.related("BUILD_TOOL_OF"))
        self.assertIn(("SPDXRef-File-dwelld", self.packages["libuv1"]["SPDXID"] if "libuv1" in self.packages
                       else self.packages["libuv1t64"]["SPDXID"]), self.related("DEPENDS_ON"))

    def test_sbom_of_the_same_files_is_the_same(self):
        self.assertEqual(sbom(SOURCE_DATE_EPOCH="1769860800", TZ="Pacific/Kiritimati", LC_ALL="C"), self.text)


if __name__ == "__main__":
    unittest.main()
