#!/usr/bin/env bash
# A gateway on this machine, for trying it out; `make demo` runs this. Ctrl-C ends everything.
#
#   CLUSTER=local          also start a real cluster (tests/e2e/controlplane), register it, and make a user
#                          "demo" who is cluster-member there
#   PALISADE_DEMO_DIR      where the state is kept (default .palisade)
#   PALISADE_DEMO_LISTEN, PALISADE_DEMO_ADMIN_LISTEN   addresses (default 127.0.0.1:8443, 127.0.0.1:8444)
set -euo pipefail
# Logs, sessions and passwords are the person's alone.
umask 077
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cluster=${CLUSTER:-}
case $cluster in
    '' | local) ;;
    *)
        echo "demo: CLUSTER is \"local\" or empty, not \"$cluster\"" >&2
        exit 2
        ;;
esac
state=$(realpath -m "${PALISADE_DEMO_DIR:-.palisade}")
listen=${PALISADE_DEMO_LISTEN:-127.0.0.1:8443}
admin_listen=${PALISADE_DEMO_ADMIN_LISTEN:-127.0.0.1:8444}
# The first start of a debug build on a busy machine takes seconds; a minute means that something is wrong.
patience=60

mkdir -p -m 700 "$state"
cargo build --locked --bin palisade
palisade=$PWD/target/debug/palisade
[[ -z $cluster ]] || control_plane=$(tests/e2e/controlplane/build.sh)

gateway= launcher=
# Each child in a session of its own: Ctrl-C reaches this script alone, which ends them in order.
finish() {
    local status=$?
    trap '' INT TERM HUP EXIT
    for pid in $gateway $launcher; do kill -TERM "$pid" 2>/dev/null || true; done
    for pid in $gateway $launcher; do wait "$pid" 2>/dev/null || true; done
    exit "$status"
}
trap finish EXIT
trap 'exit 0' INT TERM HUP

# Waits until a file has a line that matches, while the process lives.
wait_for() {
    local file=$1 pattern=$2 pid=$3 what=$4 log=$5
    for ((tenth = 0; tenth < patience * 10; tenth++)); do
        if grep -q -- "$pattern" "$file" 2>/dev/null; then return; fi
        if ! kill -0 "$pid" 2>/dev/null; then break; fi
        sleep 0.1
    done
    echo "demo: $what did not start:" >&2
    tail -n 20 "$log" >&2
    exit 1
}

start_gateway() {
    : >"$state/gateway.out"
    setsid "$palisade" serve --dev --state-dir "$state" --listen "$listen" --admin-listen "$admin_listen" \
        >"$state/gateway.out" 2>>"$state/gateway.log" &
    gateway=$!
    wait_for "$state/gateway.out" 'Ctrl-C ends it' "$gateway" 'the gateway' "$state/gateway.log"
    url=$(sed -n 's/^Palisade for development at //p' "$state/gateway.out")
}

stop_gateway() {
    kill -TERM "$gateway"
    wait "$gateway" || true
    gateway=
}

# The demo's own session, apart from the person's.
as_admin() { "$palisade" "$@" --config-dir "$state/demo" --server "$url"; }

log_in() { "$palisade" login --server "$url" --ca "$state/ca.pem" --username admin --password-stdin --config-dir "$state/demo" >&2; }

# Everything below needs an admin's session. The password is known at the first start alone; later the
# session of the last time does, and if that has ended the admin gets a new password.
become_admin() {
    local password
    password=$(awk '/shown this once/ { getline; getline; print $1 }' "$state/gateway.out")
    if [[ -z $password ]]; then
        local answer
        if answer=$(as_admin whoami 2>&1); then return; fi
        # Any other failure is not cured by a new password.
        if [[ $answer != *'palisade login'* ]]; then
            printf 'demo: the gateway does not answer as it should: %s\n' "$answer" >&2
            exit 1
        fi
        stop_gateway
        "$palisade" admin init --config "$state/palisade.yaml" --reset >"$state/reset.out"
        password=$(awk '/shown this once/ { getline; getline; print $1 }' "$state/reset.out")
        rm "$state/reset.out"
        start_gateway
        printf 'The session of the last demo has ended; "admin" has a new password: %s\n\n' "$password"
    fi
    [[ -z $password ]] || log_in <<<"$password"
}

# Twenty letters and digits; a thousand bytes hold a hundred and more of them.
random_password() { head -c 1000 /dev/urandom | LC_ALL=C tr -dc 'a-z0-9' | cut -c 1-20; }

start_cluster() {
    echo 'starting the cluster ...' >&2
    : >"$state/cluster.out"
    setsid "$control_plane/local-cluster" --dir "$state/cluster" --demo \
        >"$state/cluster.out" 2>"$state/cluster.log" &
    launcher=$!
    wait_for "$state/cluster.out" '^READY ' "$launcher" 'the cluster' "$state/cluster.log"
    local kubeconfig
    kubeconfig=$(sed -n 's/^READY //p' "$state/cluster.out")
    # The cluster of an earlier demo had another port and another authority.
    if as_admin cluster show local >/dev/null 2>&1; then
        as_admin cluster remove local --keep-objects --yes >&2
    fi
    as_admin cluster add local --kubeconfig "$kubeconfig" --yes >&2
    if ! as_admin user show demo >/dev/null 2>&1; then
        random_password >"$state/demo.password"
        as_admin user add demo --password-stdin <"$state/demo.password" >&2
    elif [[ ! -s $state/demo.password ]]; then
        random_password >"$state/demo.password"
        as_admin user password demo --password-stdin <"$state/demo.password" >&2
    fi
    # Removing the cluster took the binding along.
    if ! as_admin bindings --user demo 2>/dev/null | grep -q cluster-member; then
        as_admin bind cluster-member --user demo --cluster local >&2
    fi
}

echo "starting the gateway ..." >&2
start_gateway
if [[ -n $cluster ]]; then
    become_admin
    start_cluster
fi
cat "$state/gateway.out"
if [[ -n $cluster ]]; then
    kubectl=$(command -v kubectl || echo "$control_plane/kubectl")
    # As words of a shell's line, whatever is in them.
    printf -v q_palisade %q "$palisade"
    printf -v q_kubectl %q "$kubectl"
    printf -v q_ca %q "$state/ca.pem"
    printf -v q_password %q "$state/demo.password"
    printf -v q_kubeconfig %q "$state/kubeconfig.demo"
    cat <<TEXT

A cluster "local" stands behind it. As the user demo, who is cluster-member there, in another terminal:

  $q_palisade login --server $url --ca $q_ca --username demo --password-stdin <$q_password
  $q_palisade kubeconfig --output $q_kubeconfig
  export KUBECONFIG=$q_kubeconfig
  $q_kubectl get pods --all-namespaces
  $q_kubectl auth whoami
  $q_kubectl logs -f -n demo clock
  $q_kubectl exec -it -n demo clock -- sh
TEXT
fi
echo
echo "The log is $state/gateway.log. Ctrl-C ends everything."
while true; do
    # A signal ends the wait; a child that ends by itself ends the demo.
    wait -n $gateway $launcher || true
    for pid in $gateway $launcher; do
        kill -0 "$pid" 2>/dev/null && continue
        echo "demo: a process ended by itself; see $state/gateway.log and $state/cluster.log" >&2
        exit 1
    done
done
