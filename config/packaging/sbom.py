#!/usr/bin/python3
"""Writes what dwell's programs are made of, as SPDX 2.3 in JSON: `make sbom`.

    config/packaging/sbom.py BUILD VERSION > dwell.spdx.json

    1. each file that `make install` takes from BUILD, with its SHA-256
    2. the Debian package, with its version and source, of every library that the loader finds for them, of xxHash,
       which is in dwelld itself, and of what built them
    3. who contains, needs, or built what, as relationships

SPDX and not CycloneDX: it is an ISO standard (5962), and tells a file from a package. The same files on the
same system give the same bytes: the time is that of SOURCE_DATE_EPOCH or of the last commit, and the
namespace comes from the content. What is not known, as most licences of packages, is NOASSERTION.

What can fail: a file that was not built, or a library that belongs to no package. Then nothing is written.
"""

import datetime
import hashlib
import json
import os
import re
import subprocess
import sys

FILES = ("dwelld", "dwell", "dwell_otlp.so", "dwell_otlp_insecure.so", "libdwell.so.0", "libdwell.a")
WITHOUT_GRPC = ("dwell_otlp.so", "dwell_otlp_insecure.so")  # are not built where it is missing

INSIDE = {"libxxhash-dev": ("dwelld",)}  # a header that is all of it
TOOLS = ("gcc", "binutils", "make", "protobuf-c-compiler", "libseccomp2")

NAMESPACE = "https://spdx.org/spdxdocs/dwell"


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def identifier(kind, name):
    """SPDX takes letters, digits, dots and hyphens."""
    return f"SPDXRef-{kind}-" + re.sub(r"[^A-Za-z0-9.-]", "-", name)


# --- what the system says ------------------------------------------------------------------------


def loaded(path):
    """Every library that the loader takes for a program or library: paths."""
    return sorted(set(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", output("ldd", path), re.M)))


def owners(paths):
    """{path: the package that it belongs to}. The database may know a file by its place before /usr was merged."""
    names = {path: {os.path.realpath(path), re.sub("^/usr", "", os.path.realpath(path)), path} for path in paths}
    asked = sorted(set().union(*names.values()))
    said = subprocess.run(["dpkg-query", "-S", *asked], check=False, capture_output=True, text=True).stdout
    known = {name: package.split(",")[0] for package, _, name in
             (line.partition(": ") for line in said.splitlines())}
    found = {path: known[name] for path, all_of_it in names.items() for name in all_of_it if name in known}
    lost = sorted(set(paths) - set(found))
    if lost:
        sys.exit(f"sbom.py: {', '.join(lost)}: of no package")
    return found


def facts(package):
    """Of an installed package, by the names of dpkg's fields; None when it is not installed."""
    fields = ("Package", "Version", "Architecture", "source:Package", "source:Version", "Homepage")
    asked = "\\t".join("${%s}" % field for field in fields) + "\\n"
    found = subprocess.run(["dpkg-query", "-W", "-f", asked, package], check=False, capture_output=True, text=True)
    values = found.stdout.split("\n")[0].split("\t")
    return dict(zip(fields, values)) if found.returncode == 0 and values[1:2] != [""] else None


def created():
    """SOURCE_DATE_EPOCH, else the time of the last commit, else the beginning of all."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        found = subprocess.run(["git", "log", "-1", "--format=%ct"], check=False, capture_output=True, text=True)
        epoch = found.stdout.strip() or "0"
    return datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- SPDX ----------------------------------------------------------------------------------------


def digests(path):
    with open(path, "rb") as file:
        content = file.read()
    return [{"algorithm": name.upper(), "checksumValue": hashlib.new(name, content).hexdigest()}
            for name in ("sha1", "sha256")]


def file_element(build, name):
    kind = "ARCHIVE" if name.endswith(".a") else "BINARY"
    return {"SPDXID": identifier("File", name), "fileName": f"./{name}", "fileTypes": [kind],
            "checksums": digests(os.path.join(build, name)), "licenseConcluded": "MIT",
            "licenseInfoInFiles": ["NOASSERTION"], "copyrightText": "NOASSERTION"}


def package_element(of):
    purl = f"pkg:deb/debian/{of['Package']}@{of['Version'].replace('+', '%2B').replace(':', '%3A')}?arch={of['Architecture']}"
    element = {"SPDXID": identifier("Package", of["Package"]), "name": of["Package"], "versionInfo": of["Version"],
               "downloadLocation": "NOASSERTION", "filesAnalyzed": False, "licenseConcluded": "NOASSERTION",
               "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
               "sourceInfo": f"built from {of['source:Package']} {of['source:Version']}",
               "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                                 "referenceLocator": purl}]}
    if of["Homepage"]:
        element["homepage"] = of["Homepage"]
    return element


def own_element(version, files):
    """dwell itself. The verification code is SPDX's: of the sorted SHA-1 sums of its files."""
    sums = sorted(file["checksums"][0]["checksumValue"] for file in files)
    code = hashlib.sha1("".join(sums).encode()).hexdigest()
    return {"SPDXID": "SPDXRef-Package-dwell", "name": "dwell", "versionInfo": version,
            "downloadLocation": "NOASSERTION", "filesAnalyzed": True, "licenseConcluded": "MIT",
            "licenseDeclared": "MIT", "licenseInfoFromFiles": ["NOASSERTION"], "copyrightText": "NOASSERTION",
            "packageVerificationCode": {"packageVerificationCodeValue": code},
            "primaryPackagePurpose": "APPLICATION"}


def relation(left, kind, right):
    return {"spdxElementId": left, "relationshipType": kind, "relatedSpdxElement": right}


def document(build, version):
    names = [name for name in FILES if name not in WITHOUT_GRPC or os.path.exists(os.path.join(build, name))]
    missing = [name for name in names if not os.path.exists(os.path.join(build, name))]
    if missing:
        sys.exit(f"sbom.py: {build} has no {', '.join(missing)}: make all")
    files = [file_element(build, name) for name in names]
    packages, relations = {}, [relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Package-dwell")]
    for file in files:
        relations.append(relation("SPDXRef-Package-dwell", "CONTAINS", file["SPDXID"]))

    def add(left, kind, package):
        of = facts(package)
        if of is not None:
            packages[of["Package"]] = package_element(of)
            right = packages[of["Package"]]["SPDXID"]
            relations.append(relation(*((right, kind, left) if kind == "BUILD_TOOL_OF" else (left, kind, right))))

    libraries = {name: loaded(os.path.join(build, name)) for name in names if not name.endswith(".a")}
    owner = owners(set().union(*libraries.values()))
    for name, paths in libraries.items():
        for package in sorted({owner[path] for path in paths}):
            add(identifier("File", name), "DEPENDS_ON", package)
    for package, holders in INSIDE.items():
        for name in holders:
            add(identifier("File", name), "STATIC_LINK", package)
    for package in TOOLS:
        add("SPDXRef-Package-dwell", "BUILD_TOOL_OF", package)
    body = {"packages": [own_element(version, files)] + [packages[name] for name in sorted(packages)],
            "files": files, "relationships": relations}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
            "name": f"dwell-{version}", "documentNamespace": f"{NAMESPACE}-{version}-{digest[:32]}",
            "creationInfo": {"created": created(), "creators": [f"Tool: dwell-sbom-{version}"]}, **body}


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: sbom.py BUILD VERSION")
    json.dump(document(sys.argv[1], sys.argv[2]), sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
