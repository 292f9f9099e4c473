# --- words

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

printable() { printf %s "$1" | tr -c '\040-\176' '?'; }

say() { printf '%s glidein %s: %s\n' "$(now)" "${glidein}" "$(printable "$1")"; }

# A JSON string; what is not printable ASCII becomes "?".
json() { printf '"%s"' "$(printable "$1" | sed 's/["\\]/\\&/g')"; }

# Sets `value` to the value of the variable named $1 (the caller makes sure that it is a name).
value_of() { eval "value=\${$1-}"; }

