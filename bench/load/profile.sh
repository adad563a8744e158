#!/usr/bin/env bash
# Where the gateway's CPU goes in one workload: bench/load/profile.sh [CELL] [TARGET]  (get-h1, gateway>h1)
#
# Needs perf, and what run.sh builds. Prints the share of each function, with and without what it calls, of all that was
# sampled while requests were carried; the start (the store is read, keys are made) is left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cell=${1:-get-h1} target=${2:-gateway>h1}
export PATH=$PATH:/usr/sbin:/sbin
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# In the place of the gateway: the gateway under perf. Only `serve` is sampled; `taskset` and perf pass signals on.
cat >"$folder/palisade" <<SCRIPT
#!/bin/sh
exec perf record -q -e cpu-clock -F 2000 --call-graph dwarf,16384 -o $folder/perf.data -- $PWD/target/release/palisade "\$@"
SCRIPT
chmod +x "$folder/palisade"
bench/load/target/release/palisade-load run --palisade "$folder/palisade" --results "$folder" --rounds 1 \
    --parts cells --cell "$cell" --target "$target" --longer 5 >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }

perf script -i "$folder/perf.data" -F comm,time,ip,sym --no-inline 2>/dev/null | awk '
    function done(   i, name, seen) {
        # A request is carried by these; the followers of the store and the start are not.
        if (n && stack ~ /serve::conn|proxy::pool|audit::writer|observe::log|tokio::runtime/ &&
            stack !~ /sqlite|store::follow|jent_|Index::apply|State::open/) {
            all++
            own[names[1]]++
            for (i = 1; i <= n; i++) if (!(names[i] in seen)) { seen[names[i]] = 1; with[names[i]]++ }
        }
        n = 0; stack = ""
    }
    /^$/ { done(); next }
    /^[^ \t]/ { next }
    {
        name = $0
        sub(/^[ \t]*[0-9a-f]+ /, "", name); sub(/\+0x[0-9a-f]+$/, "", name); sub(/::h[0-9a-f]{16}$/, "", name)
        names[++n] = name; stack = stack "\n" name
    }
    END {
        done()
        if (!all) { print "nothing was sampled" > "/dev/stderr"; exit 1 }
        sorted = "sort -rn | head -40"
        print all " samples\n\nWith what they call:"
        for (name in with) printf "%6.2f %%  %s\n", 100 * with[name] / all, name | sorted
        close(sorted)
        print "\nThemselves:"
        for (name in own) printf "%6.2f %%  %s\n", 100 * own[name] / all, name | sorted
        close(sorted)
    }'
