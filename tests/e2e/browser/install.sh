#!/usr/bin/env bash
# Sees to it that the pages can be tried in a real browser, and against a real OpenID provider: Debian's Chromium,
# Node, and three npm packages by package-lock.json. The last line on stdout is the folder that holds node_modules.
# What is missing is installed, or the script says what to do if it may not; nothing is ever left out.
#
#   PALISADE_CACHE  where the packages are kept (default ~/.cache/palisade); found again by the lock file's sum
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PALISADE_CACHE:-${HOME:?install.sh: set HOME or PALISADE_CACHE}/.cache/palisade}/browser
mkdir -p "$cache"
# One at a time: a second caller waits here and then finds everything.
exec 9>"$cache/.lock"
flock 9

packages=()
command -v chromium >/dev/null || packages+=(chromium)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
if ((${#packages[@]})); then
    if ! command -v apt-get >/dev/null || [[ $(id -u) != 0 ]]; then
        echo "install.sh: missing; as root on Debian: apt-get install ${packages[*]}" >&2
        exit 1
    fi
    echo "install.sh: installing ${packages[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    # The wait is for another installation on this machine.
    apt-get -q -o DPkg::Lock::Timeout=600 update >&2
    apt-get -q -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "${packages[@]}" >&2
fi
found=$(node --version)
[[ $found =~ ^v([0-9]+)\. ]] && ((BASH_REMATCH[1] >= 20)) || {
    echo "install.sh: node 20 or newer is needed; \"node --version\" says: $found" >&2
    exit 1
}

key=$(cat "$here/package.json" "$here/package-lock.json" | sha256sum | cut -c1-16)
result=$cache/$key
if [[ ! -d $result ]]; then
    draft=$(mktemp -d "$cache/draft.XXXXXX")
    trap 'rm -rf "$draft"' EXIT
    cp "$here/package.json" "$here/package-lock.json" "$draft"
    # No package's own scripts are run: none of these needs one.
    (cd "$draft" && npm ci --ignore-scripts --no-audit --no-fund >&2)
    chmod 755 "$draft"
    mv "$draft" "$result"
    trap - EXIT
fi
echo "$result"
