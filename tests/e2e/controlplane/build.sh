#!/usr/bin/env bash
# Builds the control plane of the tests: API server, etcd, kubectl, the small kubelet and the
# launcher. The last line on stdout is the folder with the programs.
#
#   PALISADE_CACHE     where results and the Go build cache are kept (default ~/.cache/palisade)
#   KUBEBUILDER_ASSETS a folder that already has kube-apiserver and etcd (and perhaps kubectl):
#                      they are used as they are and only our own small programs are built
#
# A first build takes about five minutes on two cores and 3 GB of disk; a second call does nothing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PALISADE_CACHE:-${HOME:?build.sh: set HOME or PALISADE_CACHE}/.cache/palisade}
kubernetes=1.36.3
# Two compilers at once: more run a machine with two cores and 8 GB out of memory.
jobs=2

cd "$here"
mkdir -p "$cache/controlplane"
key=$(find . -type f \( -name go.mod -o -name go.sum -o -name '*.go' -o -name build.sh \) -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
programs=(kube-apiserver etcd kubectl fake-kubelet local-cluster)
given=()
assets=${KUBEBUILDER_ASSETS:-}
if [[ -n $assets ]]; then
    for program in kube-apiserver etcd; do
        [[ -x $assets/$program ]] || {
            echo "build.sh: KUBEBUILDER_ASSETS=$assets has no program $program" >&2
            exit 1
        }
    done
    given=(kube-apiserver etcd)
    programs=(fake-kubelet local-cluster)
    if [[ -x $assets/kubectl ]]; then given+=(kubectl); else programs+=(kubectl); fi
    key+=-$(printf '%s' "$assets" | sha256sum | cut -c1-8)
fi
result=$cache/controlplane/$key

# One build at a time: a second caller waits here and then finds the result.
exec 9>"$cache/controlplane/.lock"
flock 9
if [[ -d $result/bin ]]; then
    touch "$result"
    echo "$result/bin"
    exit 0
fi
command -v go >/dev/null || {
    echo "build.sh: go (1.26 or newer) is not in PATH" >&2
    exit 1
}
# As the go here is, without fetching another one: go1.26.1, or devel go1.27-...
found=$(GOTOOLCHAIN=local go version 2>&1 || true)
if [[ ! $found =~ go([0-9]+)\.([0-9]+) ]] ||
    ((BASH_REMATCH[1] < 1 || (BASH_REMATCH[1] == 1 && BASH_REMATCH[2] < 26))); then
    echo "build.sh: go 1.26 or newer is needed; \"go version\" says: $found" >&2
    exit 1
fi

# One fixed set: any other flag recompiles all of Kubernetes. GOFLAGS is set and not just emptied,
# for an empty one falls back to the value of `go env -w`.
export GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0 GOCACHE=$cache/go-build
ldflags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    ldflags+=" -X $package.gitVersion=v$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=36"
    ldflags+=" -X $package.gitTreeState=clean"
done

scratch=$(mktemp -d "$cache/controlplane/.build.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/bin"
started=$SECONDS
number=0
for program in "${programs[@]}"; do
    number=$((number + 1))
    echo "building $program ($number of ${#programs[@]}, ${SECONDS}s; a first build takes about 5 minutes)" >&2
    go build -p "$jobs" -trimpath -buildvcs=false -ldflags "$ldflags" -o "$scratch/bin/$program" "./cmd/$program"
done
for program in "${given[@]}"; do
    ln -s "$(readlink -f "$assets/$program")" "$scratch/bin/$program"
done
mv "$scratch" "$result"
trap - EXIT
# A result of older sources is of no more use; the Go build cache makes up for it.
find "$cache/controlplane" -mindepth 1 -maxdepth 1 -type d -mtime +14 -exec rm -rf {} +
echo "control plane built in $((SECONDS - started)) s" >&2
echo "$result/bin"
