#!/usr/bin/env bash
# Installs mediagate on this machine, or into a folder. What exists is never overwritten.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/install.sh [--binary FILE] [--prefix DIR] [--upgrade | --uninstall]

  PREFIX/bin/mediagate                     the program
  /etc/mediagate/mediagate.toml            a configuration, and secrets/ with new secrets (0600)
  /etc/systemd/system/mediagate.service    the hardened unit, neither enabled nor started
  PREFIX/share/doc/mediagate/              every setting, explained

  --binary FILE   the program to install (default: target/release/mediagate, else the one in PATH)
  --prefix DIR    an absolute path (default: /usr/local)
  --upgrade       replace the program, the unit and the explanation; configuration and secrets stay
  --uninstall     take those away; /etc/mediagate, /var/lib/mediagate and the user `mediagate` stay

With DESTDIR set, everything goes below that folder, no user is made and root is not needed:

  DESTDIR=/tmp/try scripts/install.sh
USAGE
}

say() { echo "install: $*"; }
die() {
  echo "install: $*" >&2
  exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dest=${DESTDIR:-} prefix=/usr/local binary='' task=install
while [ $# -gt 0 ]; do
  case "$1" in
  --binary | --prefix)
    [ $# -ge 2 ] || die "$1 needs a value; see --help"
    if [ "$1" = --binary ]; then binary=$2; else prefix=$2; fi
    shift
    ;;
  --upgrade) task=upgrade ;;
  --uninstall) task=uninstall ;;
  -h | --help)
    usage
    exit
    ;;
  *) die "unknown argument $1; see --help" ;;
  esac
  shift
done

# Paths go into the unit and through sed as they are.
[[ $prefix =~ ^/[A-Za-z0-9._/-]*$ ]] || die "--prefix must be an absolute path of letters, digits and ._-/"
[[ -z $dest || $dest = /* ]] || die "DESTDIR must be an absolute path"
prefix=${prefix%/} dest=${dest%/}
program=$dest$prefix/bin/mediagate
manual=$dest$prefix/share/doc/mediagate
etc=$dest/etc/mediagate
unit=$dest/etc/systemd/system/mediagate.service

on_this_machine() { [ -z "$dest" ]; }
systemd_runs() { on_this_machine && [ -d /run/systemd/system ]; }
if on_this_machine && [ "$(id -u)" -ne 0 ]; then die "needs root, or DESTDIR: see --help"; fi

# put MODE TARGET: writes what it is given on standard input, whole or not at all, unless something is there.
put() {
  local mode=$1 target=$2 new
  if [ -e "$target" ] || [ -L "$target" ]; then
    say "kept $target"
    cat >/dev/null # whoever writes here is not cut off
    return
  fi
  new=$(mktemp "$(dirname "$target")/.new.XXXXXX")
  cat >"$new"
  chmod "$mode" "$new"
  if on_this_machine && [[ $target = "$etc"/* ]]; then chown mediagate:mediagate "$new"; fi
  mv -n "$new" "$target"
  say "wrote $target"
}

# 32 random bytes as text.
secret() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }

remove() {
  if systemd_runs; then systemctl disable --now mediagate.service || true; fi
  rm -f "$program" "$unit" "$manual/mediagate.toml"
  rmdir "$manual" 2>/dev/null || true
  if systemd_runs; then systemctl daemon-reload; fi
}

if [ "$task" = uninstall ]; then
  remove
  say "removed the program and the unit; $etc, $dest/var/lib/mediagate and the user mediagate are still there"
  exit
fi

[ -n "$binary" ] || { [ ! -x "$here/target/release/mediagate" ] || binary=$here/target/release/mediagate; }
[ -n "$binary" ] || binary=$(command -v mediagate) || die "no program: run \`cargo build --locked --release\`, or name one with --binary"
[ -f "$binary" ] || die "there is no file $binary"

# Renamed over, because a program that runs cannot be written to; what runs goes on with the old one until it is restarted.
if [ "$task" = upgrade ]; then
  rm -f "$unit" "$manual/mediagate.toml"
  mkdir -p "$(dirname "$program")"
  cp "$binary" "$program.new"
  chmod 0755 "$program.new"
  mv -f "$program.new" "$program"
  say "replaced $program"
fi

install -d -m 0755 "$dest$prefix/bin" "$manual" "$(dirname "$unit")"
[ "$task" = upgrade ] || put 0755 "$program" <"$binary"
sed "s#/usr/local/bin/mediagate#$prefix/bin/mediagate#" "$here/conf/mediagate.service" | put 0644 "$unit"
put 0644 "$manual/mediagate.toml" <"$here/conf/mediagate.toml"

if on_this_machine && ! getent passwd mediagate >/dev/null; then
  useradd --system --user-group --home-dir /var/lib/mediagate --no-create-home --shell /usr/sbin/nologin mediagate
  say "made the user mediagate"
fi
for folder in "$etc" "$etc/secrets"; do
  [ ! -d "$folder" ] || continue
  install -d -m 0700 "$folder"
  if on_this_machine; then chown mediagate:mediagate "$folder"; fi
done
put 0600 "$etc/mediagate.toml" <"$here/conf/self-hosted.toml"
for name in backend acme-k1 presigned s3; do
  secret | put 0600 "$etc/secrets/$name.key"
done
secret | cut -c1-20 | tr a-f A-F | put 0600 "$etc/secrets/s3.id"

if systemd_runs; then systemctl daemon-reload; fi
say "next: edit $etc/mediagate.toml, then
  $prefix/bin/mediagate config check $etc/mediagate.toml
  systemctl enable --now mediagate    (after an upgrade: systemctl restart mediagate)"
