#!/usr/bin/env bash
# Sees to it that the directories of the tests can be run: Samba (an Active Directory domain controller), slapd, and
# the tools of both. Installs the Debian packages if they are missing; says what to do if it may not.
set -euo pipefail

export PATH=$PATH:/usr/sbin:/sbin
programs=(samba samba-tool ldbadd slapd slapadd slapcat ldapadd ldapmodify ldapsearch)
missing=()
for program in "${programs[@]}"; do
    command -v "$program" >/dev/null || missing+=("$program")
done
((${#missing[@]})) || exit 0

packages=(samba-ad-dc samba winbind ldap-utils samba-ad-provision samba-dsdb-modules ldb-tools slapd)
if ! command -v apt-get >/dev/null || [[ $(id -u) != 0 ]]; then
    echo "install.sh: missing: ${missing[*]}; as root on Debian: apt-get install ${packages[*]}" >&2
    exit 1
fi
# One at a time: a second caller waits here and then finds them.
exec 9>/tmp/palisade-directories.lock
flock 9
echo "install.sh: installing ${packages[*]}" >&2
# No package starts a server here: the tests start their own.
printf '#!/bin/sh\nexit 101\n' >/tmp/palisade-policy-rc.d
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    install -m 755 /tmp/palisade-policy-rc.d $policy
    trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q update >&2
# Packages of one name differ between releases: those that are not there are not needed there.
known=()
for package in "${packages[@]}"; do
    apt-cache show "$package" >/dev/null 2>&1 && known+=("$package")
done
apt-get -q install -y --no-install-recommends "${known[@]}" >&2
