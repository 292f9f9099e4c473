"""What runs on the worker node, and the tarball that it runs from.

bootstrap/      the glidein itself: POSIX sh, joined into one script; its head says what it needs and how it ends
tarball.py      the tarball's form: written reproducibly, read with suspicion
build.py        makes one from an HTCondor that is installed or unpacked
cli.py          `glidepost glidein build|inspect`
"""
