#!/usr/bin/env bash
# Installs what is missing for one purpose, and nothing when nothing is missing.
#
#   scripts/install-deps.sh build   a C compiler and cmake (Pingora's zlib is built with it)
#   scripts/install-deps.sh test    the same, the servers and the browser that tests start, and pinned packages for Python
#                                   (.venv) and Node (tests/servers/node_modules)
#   scripts/install-deps.sh peers   wrk, and the proxies that benches/peers compares with
#   scripts/install-deps.sh fuzz    the same as build, a C++ compiler and cargo-fuzz
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "install-deps: $*" >&2; }
die() {
  say "$*"
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# apt_install PACKAGE…: asks nobody, and refreshes the package lists first because a fresh image has none.
apt_install() {
  local root=()
  have apt-get || die "missing: $*. Install them with your system's package manager, then run this again."
  if [ "$(id -u)" -ne 0 ]; then
    have sudo || die "missing: $*. As root, run: apt-get update && apt-get install -y $*"
    root=(sudo)
  fi
  say "installing $* with apt-get"
  "${root[@]}" apt-get update -qq >&2 || say "apt-get update failed; trying with the package lists that are here"
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 ||
    die "apt-get could not install $*. Check the network and /etc/apt/sources.list, then run this again."
}

need_rust() {
  have cargo || die "cargo is missing. Install Rust (https://www.rust-lang.org/tools/install), then run this again."
}

need_build_tools() {
  local missing=()
  have cc || missing+=(gcc libc6-dev)
  have cmake || missing+=(cmake)
  if [ ${#missing[@]} -gt 0 ]; then apt_install "${missing[@]}"; fi
}

# The servers that the tests start and stop themselves; nothing here starts one.
need_servers() {
  local missing=()
  have redis-server || missing+=(redis-server)
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || have initdb || missing+=(postgresql)
  have openssl || missing+=(openssl)
  have wrk || missing+=(wrk)
  have nginx || [ -x /usr/sbin/nginx ] || missing+=(nginx)
  have caddy || missing+=(caddy)
  [ ${#missing[@]} -eq 0 ] || install_servers "${missing[@]}"
}

# install_servers PACKAGE…: Debian starts what it installs, and makes a cluster that nobody needs.
install_servers() {
  if [ "$(id -u)" -eq 0 ] && [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  apt_install "$@"
}

# The load generator, and the proxies that the gate is compared with.
need_peers() {
  local missing=()
  have wrk || missing+=(wrk)
  have nginx || [ -x /usr/sbin/nginx ] || missing+=(nginx)
  [ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] || missing+=(libnginx-mod-http-lua)
  compgen -G '/usr/lib/*/lua/5.1/cjson.so' >/dev/null || missing+=(lua-cjson)
  have haproxy || [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
  [ ${#missing[@]} -eq 0 ] || install_servers "${missing[@]}"
}

# The presigning oracle, a NATS server newer than Debian's, and Twilio's library. The stamp is what the environment was made from, so an
# edited pin makes it anew.
need_python() {
  local pins=(tests/oracle/requirements.txt tests/servers/requirements.txt) stamp=.venv/requirements.txt
  if cat "${pins[@]}" | cmp -s - "$stamp" && .venv/bin/python -c 'import botocore' 2>/dev/null; then return; fi
  have python3 || apt_install python3 python3-venv
  # Debian ships `venv` without the pip that it would put inside.
  python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
  say "making .venv for the presigning oracle, the NATS server, Twilio's library and Schemathesis"
  rm -rf .venv
  python3 -m venv .venv || die "python3 -m venv failed. Install your system's python3-venv package, then run this again."
  local file
  for file in "${pins[@]}"; do
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$file" >&2 ||
      die "pip could not install $file. Check the network (or point pip at your package index), then run this again."
  done
  cat "${pins[@]}" >"$stamp"
}

# The browser that the JavaScript client is tested in; CHROMIUM names another one.
need_browser() {
  have "${CHROMIUM:-chromium}" || apt_install chromium
}

# Twilio's library again: the one for Node writes other claims than the one for Python. TypeScript, which checks the
# JavaScript client, and hls.js, which plays playlists. The stamp is as above.
need_node() {
  local lock=tests/servers/package-lock.json stamp=tests/servers/node_modules/.installed
  if cmp -s "$lock" "$stamp" && have node; then return; fi
  local missing=()
  have node || missing+=(nodejs)
  have npm || missing+=(npm)
  if [ ${#missing[@]} -gt 0 ]; then apt_install "${missing[@]}"; fi
  say "installing Twilio's library for Node, TypeScript and hls.js"
  # Exactly what is locked, and nobody's install scripts.
  npm ci --prefix tests/servers --ignore-scripts --no-audit --no-fund --silent >&2 ||
    die "npm could not install $lock. Check the network (or point npm at your registry), then run this again."
  cp "$lock" "$stamp"
}

need_fuzzer() {
  # libFuzzer is C++.
  have c++ || apt_install g++
  have cargo-fuzz && return
  say "installing cargo-fuzz (a few minutes, once)"
  # Outside the fuzzing run's own build directory and with the default toolchain: it is a tool, not a part.
  cargo install cargo-fuzz --locked ||
    die "cargo could not install cargo-fuzz. Check the network, or install it yourself, then run this again."
}

case "${1:-}" in
build)
  need_rust
  need_build_tools
  ;;
test)
  need_rust
  need_build_tools
  need_servers
  need_browser
  need_python
  need_node
  ;;
peers)
  need_rust
  need_build_tools
  need_python
  need_peers
  ;;
fuzz)
  need_rust
  need_build_tools
  need_fuzzer
  ;;
*)
  echo "usage: scripts/install-deps.sh build|test|peers|fuzz" >&2
  exit 2
  ;;
esac
