# The table of README.md from logs/summary.txt: awk -f table.awk logs/summary.txt
{
    target = $1
    if (!(target in seconds)) order[++count] = target
    seconds[target] += $4
    for (i = 1; i <= NF; i++) {
        if ($i == "executions,") runs[target] += $(i - 1)
        if ($i == "cov:") cover[target] = $(i + 1)
        if ($i == "ft:") features[target] = $(i + 1)
    }
    if (/panicked at|ERROR: libFuzzer/) findings[target]++
}
END {
    print "| target | CPU minutes | executions | coverage (edges) | features | findings |"
    print "|---|---|---|---|---|---|"
    for (i = 1; i <= count; i++) {
        t = order[i]
        printf "| `%s` | %.1f | %d | %d | %d | %d |\n", t, seconds[t] / 60, runs[t], cover[t], features[t], findings[t]
    }
}
