#!/bin/sh
# `taskd cert`: what it makes is what OpenSSL accepts, and nothing more; what it refuses, in a sentence.
set -eu
dir=$(mktemp -d "${TMPDIR:-/tmp}/taskd-cert-XXXXXX")
trap 'rm -rf "$dir"' EXIT
export HOME="$dir"
unset XDG_CONFIG_HOME || true
bad=0
umask 022

# expect STATUS TEXT ARGUMENTS...: the exit status, and TEXT in what it prints
expect() {
    status=$1 text=$2
    shift 2
    got=0
    "$top_builddir/taskd-cert" "$@" >"$dir/out" 2>&1 || got=$?
    if [ $got != "$status" ] || ! grep -qF -e "$text" "$dir/out"; then
        echo "FAIL: taskd cert $* exits with $got, not $status, or does not say: $text"
        cat "$dir/out"
        bad=1
    fi
}
check() {
    "$@" >"$dir/out" 2>&1 || { echo "FAIL: $*"; cat "$dir/out"; bad=1; }
}
is() {
    [ "$1" = "$2" ] || { echo "FAIL: \"$1\" is not \"$2\""; bad=1; }
}

expect 0 'usage: taskd cert init' --help
expect 2 'taskd cert: init or issue?'
expect 2 '"make" is neither init nor issue' make
expect 2 '"--drr" is not an option' init --drr x
expect 2 '--dir needs a value' init --dir
expect 2 '"x" is too much' init x
expect 2 'takes --dir only' init --host a
expect 2 'needs --host' issue
expect 2 '"a b" is neither' issue --host 'a b'
expect 2 '"*.a" is neither' issue --host '*.a'
expect 3 "there is no \"$dir/.config/taskd/ca/ca.pem\"" issue --host a

expect 0 'made ' init
ca=$dir/.config/taskd/ca
is "$(stat -c %a "$ca")" 700
is "$(stat -c %a "$ca/ca.key")" 600
is "$(stat -c %a "$ca/ca.pem")" 644
before=$(sha256sum "$ca/ca.key" "$ca/ca.pem")
expect 6 'exists already' init
mv "$ca/ca.key" "$ca/away"
expect 6 'exists already' init
[ ! -e "$ca/ca.key" ] || { echo "FAIL: a refused init leaves a key"; bad=1; }
expect 3 "there is no \"$ca/ca.key\"" issue --host a
mv "$ca/away" "$ca/ca.key"
is "$(sha256sum "$ca/ca.key" "$ca/ca.pem")" "$before"

expect 0 "made ca.pem, node.pem and node.key in $ca/node-1.example" issue --host node-1.example,10.0.0.1 --host fe80::1
n=$ca/node-1.example
is "$(stat -c %a "$n/node.key")" 600
before=$(sha256sum "$n/node.key")
expect 6 'exists already' issue --host node-1.example
is "$(sha256sum "$n/node.key")" "$before"
expect 0 "in $dir/b" issue --host b --out "$dir/b"

if command -v openssl >/dev/null; then
    for purpose in sslserver sslclient; do
        check openssl verify -x509_strict -purpose $purpose -CAfile "$ca/ca.pem" "$n/node.pem"
    done
    for ip in 10.0.0.1 fe80::1 127.0.0.1 ::1; do
        check openssl verify -CAfile "$ca/ca.pem" -verify_ip $ip "$n/node.pem"
    done
    check openssl verify -CAfile "$ca/ca.pem" -verify_hostname node-1.example "$n/node.pem"
    check openssl verify -CAfile "$ca/ca.pem" -verify_hostname localhost "$n/node.pem"
    check openssl x509 -in "$n/node.pem" -noout -checkend $((729 * 86400))
    check openssl x509 -in "$ca/ca.pem" -noout -checkend $((3649 * 86400))
    check sh -c "! openssl x509 -in '$n/node.pem' -noout -checkend $((731 * 86400))"
    check sh -c "! openssl verify -CAfile '$ca/ca.pem' -verify_hostname other '$n/node.pem'"
    check sh -c "! openssl verify -CAfile '$ca/ca.pem' -verify_ip 10.0.0.2 '$n/node.pem'"
    check sh -c "openssl x509 -in '$n/node.pem' -noout -text | grep -q 'NIST CURVE: P-256'"
    expect 0 'made ' init --dir "$dir/other"
    check sh -c "! openssl verify -CAfile '$dir/other/ca.pem' '$n/node.pem'"
    check cmp "$ca/ca.pem" "$n/ca.pem"
fi

expect 0 'made ' init --dir "$dir/mixed"
cp "$ca/ca.pem" "$dir/mixed/ca.pem"
expect 3 "don't belong together" issue --dir "$dir/mixed" --host a
cp "$n/node.pem" "$dir/mixed/ca.pem"
expect 3 'is not the certificate of a CA' issue --dir "$dir/mixed" --host a
echo text >"$dir/mixed/ca.pem"
expect 1 'not a certificate' issue --dir "$dir/mixed" --host a
cp "$ca/ca.pem" "$dir/mixed/ca.pem"
echo text >"$dir/mixed/ca.key"
expect 1 'not a private key' issue --dir "$dir/mixed" --host a
chmod 644 "$dir/mixed/ca.key"
expect 3 'may be read by others (mode 0644)' issue --dir "$dir/mixed" --host a
[ ! -e "$dir/mixed/a/node.key" ] || { echo "FAIL: a refused issue leaves a key"; bad=1; }
exit $bad
