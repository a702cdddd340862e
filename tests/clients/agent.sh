#!/bin/sh
# The agent of the documentation's examples, in the place of the Claude CLI: whatever it is asked, it
# prints a recorded run; where it is to ask before it uses tools, it asks once. FIXTURES says where the
# recordings are.
case "$*" in
*--permission-prompt-tool*)
    read -r _prompt
    {
        printf '%s\n' '{"type":"user","message":{"role":"user","content":"ask f8623e93 true"}}'
        cat
    } | (cd "$(mktemp -d)" && cp "$FIXTURES/asking.py" . && exec ./asking.py "$@")
    ;;
*)
    cat >/dev/null
    cat "$FIXTURES/simple.jsonl"
    ;;
esac
