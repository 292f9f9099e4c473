# --- words

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

printable() { printf %s "$1" | tr -c '\040-\176' '?'; }

say() { printf '%s glidein %s: %s\n' "$(now)" "${glidein}" "$(printable "$1")"; }

# A JSON string; what is not printable ASCII becomes "?".
json() { printf '"%s"' "$(printable "$1" | sed 's/["\\]/\\&/g')"; }

# Sets `value` to the value of the variable named $1 (the caller makes sure that it is a name).
value_of() { eval "value=\${$1-}"; }


# configure TEXT: adds lines to condor_config, behind ours.
configure() { more_config=${more_config}$1${NEWLINE}; }

# advertise NAME LITERAL: adds an attribute to the ads of the slots.
advertise() {
  more_names="${more_names}, $1"
  configure "$1 = $2"
}

# allow EXPRESSION: one more condition under which a user job may start here.
allow() { start_conditions="${start_conditions} && ($1)"; }
