# Installs what the checks need from Debian's packages; sourced.
# shellcheck shell=bash

# Makes sure that there is a program; one that cannot be had is an error. No service is started by its installation.
install_debian() { # program package
  command -v "$1" >/dev/null && return
  [ "$(id -u)" = 0 ] || die "$1 is not installed and only root can install it (apt-get install $2)"
  command -v apt-get >/dev/null || die "$1 is not installed and there is no apt-get to install it with"
  [ -n "${apt_updated:-}" ] || { apt-get update -qq || die 'apt-get update failed'; apt_updated=1; }
  local policy=''
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null ||
    { rm -f "$policy"; die "apt-get install $2 failed"; }
  [ -z "$policy" ] || rm -f "$policy"
  hash -r
  command -v "$1" >/dev/null || die "$2 did not bring $1"
}
