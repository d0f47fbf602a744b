#!/bin/bash
# Runs fuzz targets one after the other, each until it has used so much processor time (user time; the clock does not count), in rounds.
#   ./run.sh MINUTES [TARGET...]
# Built with `cargo +nightly fuzz build -s none` before. FUZZ_BIN, FUZZ_LOGS: where the binaries are and where logs go.
set -u
here=$(cd "$(dirname "$0")" && pwd)
bin=${FUZZ_BIN:-$here/target/x86_64-unknown-linux-gnu/release}
logs=${FUZZ_LOGS:-$here/logs}
corpus=${FUZZ_CORPUS:-$here/corpus}
minutes=$1
shift
[ $# -gt 0 ] || set -- onnx program contract secret_key evaluation_keys ciphertexts grpc samples card weights
declare -A longest=([onnx]=131072 [program]=65536 [contract]=16384 [secret_key]=512 [evaluation_keys]=4096 [ciphertexts]=4096
    [grpc]=4096 [samples]=8192 [card]=4096 [weights]=64)
mkdir -p "$logs"
for target in "$@"; do
    mkdir -p "$corpus/$target" "$logs/artifacts/$target"
    used=0
    round=0
    while [ "$used" -lt $((minutes * 60)) ]; do
        round=$((round + 1))
        log="$logs/$target.$round.log"
        TIMEFORMAT='%U'
        seconds=$( { time "$bin/$target" "$corpus/$target" -max_total_time="${FUZZ_ROUND:-120}" -rss_limit_mb=2048 -timeout=120 \
            -max_len="${longest[$target]}" -print_final_stats=1 -artifact_prefix="$logs/artifacts/$target/" > "$log" 2>&1; } 2>&1 )
        used=$((used + ${seconds%.*} + 1))
        runs=$(sed -n 's/^stat::number_of_executed_units: //p' "$log")
        cover=$(grep -o 'cov: [0-9]* ft: [0-9]* corp: [0-9/A-Za-z]*' "$log" | tail -n 1)
        finding=$(grep -E 'panicked at|ERROR: libFuzzer|SUMMARY' "$log" | head -n 2 | tr '\n' ' ')
        echo "$target round $round: ${seconds} s of processor time, ${runs:-?} executions, $cover $finding" | tee -a "$logs/summary.txt"
        [ -z "$finding" ] || break
    done
done
