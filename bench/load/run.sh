#!/usr/bin/env bash
# The bench of whole processes; `make bench` runs this. Arguments go to `palisade-load run` (`--help` lists them);
# without any the whole bench runs, and docs/performance.md gets its table.
#
# HAProxy and nginx are installed from Debian's packages if they are missing. Results go to bench/results/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

missing=()
for program in haproxy nginx; do
    command -v "$program" >/dev/null || missing+=("$program")
done
command -v perf >/dev/null || command -v strace >/dev/null || missing+=(strace)
command -v taskset >/dev/null || missing+=(util-linux)
if ((${#missing[@]})); then
    echo "bench: installing ${missing[*]}" >&2
    as_root=()
    ((EUID == 0)) || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    # Nothing is started: the bench starts its own.
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 "${as_root[@]}" apt-get install -y -qq "${missing[@]}" >&2
fi
# Debian puts nginx where only root's PATH leads.
export PATH=$PATH:/usr/sbin:/sbin

cargo build --locked --release --bin palisade
# `make lint` checks the format; the lints are checked here, where the dependencies are built anyway.
load=(--locked --manifest-path bench/load/Cargo.toml)
cargo clippy "${load[@]}" --workspace --all-targets --profile counted -- -D warnings
cargo build "${load[@]}" --release --bin palisade-load
cargo build "${load[@]}" --profile counted -p palisade-load-world

more=()
arguments=" $* "
# The document shows whole runs.
(($#)) || more+=(--docs docs/performance.md)
if [[ $arguments != *' --quick '* && $arguments != *' --control-plane '* ]] &&
    [[ $arguments != *' --parts'* || $arguments == *apiserver* ]]; then
    # A real API server, for what impersonation costs it (G11). Without Go it is left out, and the table says so.
    if control_plane=$(tests/e2e/controlplane/build.sh); then
        more+=(--control-plane "$control_plane")
    else
        echo 'bench: no real API server: G11 is left out' >&2
    fi
fi
exec bench/load/target/release/palisade-load run "${more[@]}" "$@"
