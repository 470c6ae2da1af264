# What scripts/test and scripts/check share; both read it in the crate's root.

# The features in Cargo.toml, separated by commas, without the given ones.
features_without() {
    sed -n '/^\[features\]/,/^\[dep/s/^\([a-z0-9-]*\) = .*/\1/p' Cargo.toml |
        grep --line-regexp --invert-match "$1" | paste --serial --delimiters ,
}

# `native-tls` needs OpenSSL's headers, all others Rust and a C compiler.
has_openssl() {
    pkg-config --exists openssl 2>/dev/null
}
lint_features=$(features_without 'native-tls')

# A crate of its own in `tests/`, built beside the others; further arguments go to `cargo test`.
own_crate() {
    local manifest=tests/$1/Cargo.toml
    cargo fmt --check --manifest-path "$manifest"
    # No `--locked`: a change of the crate's dependencies changes its lock file.
    cargo test --manifest-path "$manifest" --target-dir "target/$1" "${@:2}"
}

step=start
say() {
    step=$1
    printf '\n== %s\n' "$step"
}
trap '[ $? = 0 ] || printf "\nFAILED: %s\n" "$step"' EXIT
