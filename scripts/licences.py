#!/usr/bin/env python3
"""Checks every dependency against deny.toml, with nothing but Python, cargo and the lock file.

The offline part of what cargo-deny does: licences, banned crates, wildcard requirements, sources. It reads
the dependencies of every platform and of every feature of ours. It knows no advisories beyond the bans.

    python3 scripts/licences.py          in the repository, or from anywhere
    python3 scripts/licences.py --list   also prints each licence expression and who uses it
"""

import json
import pathlib
import re
import subprocess
import sys

try:
    import tomllib
except ImportError:
    sys.exit("licences: needs Python 3.11 or newer (for tomllib)")

ROOT = pathlib.Path(__file__).resolve().parent.parent
# How cargo names the public registry, however it reaches it.
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def tokens(expression):
    """Splits an SPDX expression; `MIT/Apache-2.0` is how OR was written before SPDX."""
    return re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))


def satisfied(expression, allowed):
    """Whether `expression` can be met with licences out of `allowed`. Raises ValueError when it is none.

    `A WITH e` is a licence of its own: it is allowed when it is listed so.
    """
    rest = tokens(expression)

    def peek():
        return rest[0].upper() if rest else ""

    def term():
        if not rest:
            raise ValueError("it ends early")
        if rest[0] == "(":
            rest.pop(0)
            value = either()
            if not rest or rest.pop(0) != ")":
                raise ValueError("a bracket is open")
            return value
        name = rest.pop(0)
        if name == ")" or name.upper() in ("AND", "OR", "WITH"):
            raise ValueError(f"`{name}` out of place")
        if peek() == "WITH":
            rest.pop(0)
            if not rest:
                raise ValueError("it ends early")
            name = f"{name} WITH {rest.pop(0)}"
        return name in allowed

    def both():
        value = term()
        while peek() == "AND":
            rest.pop(0)
            value &= term()
        return value

    def either():
        value = both()
        while peek() == "OR":
            rest.pop(0)
            value |= both()
        return value

    value = either()
    if rest:
        raise ValueError(f"`{rest[0]}` out of place")
    return value


def self_check():
    """The parser decides what may be shipped, so it proves itself on every run."""
    allowed = {"MIT", "ISC", "Apache-2.0"}
    for expression, expected in [
        ("MIT", True),
        ("GPL-3.0", False),
        ("MIT OR GPL-3.0", True),
        ("MIT AND GPL-3.0", False),
        ("GPL-3.0/MIT", True),
        ("Apache-2.0 / MIT", True),
        ("MIT AND (GPL-3.0 OR ISC)", True),
        ("MIT AND ISC OR GPL-3.0", True),
        ("GPL-3.0 OR MIT AND GPL-2.0", False),
        ("Apache-2.0 WITH LLVM-exception", False),
        ("Apache-2.0 WITH LLVM-exception OR MIT", True),
        ("(MIT) AND ((ISC))", True),
    ]:
        assert satisfied(expression, allowed) is expected, expression
    for expression in ["", "MIT OR", "(MIT", "MIT)", "MIT ISC", "OR MIT", "MIT WITH"]:
        try:
            satisfied(expression, allowed)
        except ValueError:
            continue
        raise AssertionError(f"`{expression}` was taken for an expression")
    assert banned_by("0.8.1", "<0.9.0") and not banned_by("0.9.0", "<0.9.0") and banned_by("0.9.0-rc.1", "<0.9.0")
    assert banned_by("9.3.1", "<10.3.0") and not banned_by("10.3.0", "<10.3.0") and banned_by("1.0.0", "")


def banned_by(version, requirement):
    """Whether `version` falls under `requirement`: none (every version) or `<x.y.z`."""
    if not requirement:
        return True
    limit = re.fullmatch(r"<(\d+)\.(\d+)\.(\d+)", requirement)
    if not limit:
        raise ValueError(f"deny.toml: `{requirement}`: only `<x.y.z` is understood here")
    release, _, pre = version.partition("+")[0].partition("-")
    below = tuple(map(int, release.split("."))), not pre
    return below < (tuple(map(int, limit.groups())), True)


def metadata():
    command = ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1"]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        sys.exit("licences: cargo metadata failed (above). If it says that the lock file needs to be updated,"
                 " run: cargo metadata >/dev/null, and commit Cargo.lock.")
    return json.loads(run.stdout)


def problems(package, ours, allowed, exceptions, bans):
    """Yields what stands against one package."""
    source = package["source"]
    if source is None and not ours:
        yield f"is a path outside the workspace: {package['manifest_path']}"
    elif source not in (None, REGISTRY):
        yield f"does not come from the public registry: {source}"

    licence = package["license"]
    if licence is None:
        yield "declares no licence expression"
    else:
        try:
            if not satisfied(licence, allowed | exceptions.get(package["name"], set())):
                yield f"licence not in deny.toml's [licenses] allow: {licence}"
        except ValueError as error:
            yield f"licence is not an SPDX expression: `{licence}`: {error}"

    for name, requirement, reason in bans:
        if name == package["name"] and banned_by(package["version"], requirement):
            yield f"banned{' ' + requirement if requirement else ''}: {reason}"

    if ours:
        for dependency in package["dependencies"]:
            if dependency["req"] == "*" and "path" not in dependency:
                yield f"requires any version of {dependency['name']}"


def main():
    self_check()
    config = tomllib.loads((ROOT / "deny.toml").read_text())
    allowed = set(config["licenses"]["allow"])
    exceptions = {entry["crate"]: set(entry["allow"]) for entry in config["licenses"].get("exceptions", [])}
    bans = []
    for entry in config["bans"]["deny"]:
        name, _, requirement = entry["crate"].partition(":")
        bans.append((name, requirement, entry["reason"]))

    graph = metadata()
    ours = set(graph["workspace_members"])
    found = 0
    for package in sorted(graph["packages"], key=lambda package: package["id"]):
        for problem in problems(package, package["id"] in ours, allowed, exceptions, bans):
            print(f"licences: {package['name']} {package['version']}: {problem}")
            found += 1

    if "--list" in sys.argv[1:]:
        users = {}
        for package in graph["packages"]:
            users.setdefault(package["license"], []).append(package["name"])
        for licence, names in sorted(users.items(), key=lambda entry: (-len(entry[1]), str(entry[0]))):
            print(f"{len(names):4} {licence}: {', '.join(sorted(names)[:5])}{' …' if len(names) > 5 else ''}")

    if found:
        sys.exit(f"licences: {found} problem(s). Replace the crate, or argue for it in deny.toml.")
    print(f"licences: {len(graph['packages'])} packages, {len(allowed)} licences allowed, {len(bans)} bans: all clear")


if __name__ == "__main__":
    main()
