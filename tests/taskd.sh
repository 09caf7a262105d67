#!/bin/sh
# The front: verbs, its errors and exit codes, and `taskd config`.
set -eu
dir=$(mktemp -d "${TMPDIR:-/tmp}/taskd-front-XXXXXX")
trap 'rm -rf "$dir"' EXIT
taskd=$top_builddir/taskd
export HOME="$dir"
unset XDG_CONFIG_HOME TASKD_LIBEXEC || true
bad=0

# expect STATUS TEXT COMMAND...: the exit status, and TEXT in what it prints
expect() {
    status=$1 text=$2
    shift 2
    got=0
    "$@" >"$dir/out" 2>&1 || got=$?
    if [ $got != "$status" ] || ! grep -qF -e "$text" "$dir/out"; then
        echo "FAIL: $* exits with $got, not $status, or does not say: $text"
        cat "$dir/out"
        bad=1
    fi
}

expect 0 'usage: taskd VERB' "$taskd" --help
expect 0 'taskd 0.' "$taskd" --version
expect 2 'taskd: no verb is given' "$taskd"
expect 2 'hint: Did you mean submit?' "$taskd" sumbit
expect 2 '"xyzzyx" is not a verb' "$taskd" xyzzyx
expect 2 'taskd history is not built yet' "$taskd" history
for verb in submit list status wait logs kill inspect config master worker shuffle cert driver executor; do
    expect 0 "  $verb " "$taskd" --help
done

# The verbs for people: what is asked before any master is.
expect 0 'usage: taskd list' "$taskd" list --help
expect 3 'which cluster? the master is "local[*]"' "$taskd" list
expect 3 'which cluster? the master is "local[2]"' env TASKD_MASTER='local[2]' "$taskd" kill x
expect 2 'wait: no application or submission is named' "$taskd" wait
expect 2 '"--jsno" is not an option' "$taskd" status --jsno x
expect 3 '"taskd://h:0"' "$taskd" logs -f --master taskd://h:0 x
expect 2 'taskd cert: init or issue?' "$taskd" cert

mkdir -p "$dir/libexec/taskd" "$dir/bin" "$dir/.config/taskd"
printf '#!/bin/sh\necho "inspect: $*"\nexit 4\n' >"$dir/libexec/taskd/taskd-inspect"
chmod +x "$dir/libexec/taskd/taskd-inspect"
expect 4 'inspect: a.so -x' env TASKD_LIBEXEC="$dir/libexec/taskd" "$taskd" inspect a.so -x
for role in master worker shuffle driver executor cert; do
    printf '#!/bin/sh\necho "%s: $*"\nexit 9\n' $role >"$dir/libexec/taskd/taskd-$role"
    chmod +x "$dir/libexec/taskd/taskd-$role"
    expect 9 "$role: -x y" env TASKD_LIBEXEC="$dir/libexec/taskd" "$taskd" $role -x y
done
# A role is shown in the process list by its verb.
cp "$(command -v cat)" "$dir/libexec/taskd/taskd-worker"
expect 0 'taskd worker' env TASKD_LIBEXEC="$dir/libexec/taskd" "$taskd" worker /proc/self/cmdline
cp "$taskd" "$dir/bin/"
expect 4 'inspect: b.so' "$dir/bin/taskd" inspect b.so
rm "$dir/libexec/taskd/taskd-inspect"
expect 1 'the program "taskd-inspect" is not installed' "$dir/bin/taskd" inspect b.so

echo 'spark.task.maxFailures 7' >"$dir/.config/taskd/taskd.conf"
echo 'spark.executor.memory 3g' >"$dir/props"
expect 0 'taskd.task.maxFailures=7' "$taskd" config
expect 0 "$dir/.config/taskd/taskd.conf:1  taskd.task.maxFailures=7" \
    "$taskd" config --show-origin taskd.task.maxFailures
expect 0 "$dir/props:1  taskd.executor.memory=3g" \
    "$taskd" config --show-origin --properties-file "$dir/props" spark.executor.memory
expect 0 'TASKD_TASK_MAX_FAILURES  taskd.task.maxFailures=8' \
    env TASKD_TASK_MAX_FAILURES=8 "$taskd" config --show-origin taskd.task.maxFailures
expect 0 '--conf  taskd.task.maxFailures=9' \
    env TASKD_TASK_MAX_FAILURES=8 "$taskd" config --show-origin -c spark.task.maxFailures=9 taskd.task.maxFailures
expect 0 'built-in' "$taskd" config --show-origin
expect 0 'my.key=x' "$taskd" config --conf=my.key=x
expect 0 'usage: taskd config' "$taskd" config --help
expect 2 '"--shwo-origin" is not an option' "$taskd" config --shwo-origin
expect 2 '--conf needs a value' "$taskd" config --conf
expect 3 'no configuration key is named "no.key"' "$taskd" config no.key
expect 3 'Did you mean taskd.executor.memory?' "$taskd" config -c taskd.executor.memroy=1g
expect 3 'opening "/nowhere/f"' "$taskd" config --properties-file=/nowhere/f
echo 'spark.task.maxFailures none' >"$dir/.config/taskd/taskd.conf"
expect 3 "taskd: $dir/.config/taskd/taskd.conf:1: spark.task.maxFailures: \"none\" is not a whole number" "$taskd" config
if [ -w /dev/full ]; then
    rm "$dir/.config/taskd/taskd.conf"
    expect 1 'writing to standard output' sh -c "'$taskd' config >/dev/full"
fi
exit $bad
