"""A made repository of the shell scripts' users: scripts, tests, and over fifty files that call them."""

from __future__ import annotations

from tests.e2e.support.sources import script

RUN_TESTS = """\
#!/bin/bash
# Run the tests: ./run_tests.sh [--integration] [--coverage]
set -u
cd "$(dirname "$0")" || exit 1
integration=false
for word in "$@"; do
    case "$word" in
        --integration) integration=true ;;
        --coverage) ;;
        *) echo "[WARN] Unknown argument: $word" ;;
    esac
done
[ -d mvp_site ] && root=.. && cd mvp_site || root=.
python="$root/venv/bin/python"
export TESTING=true TEST_MODE="${TEST_MODE:-mock}"
files=()
collect() {
    [ -d "$1" ] || return 0
    while IFS= read -r -d '' file; do files+=("$file"); done < <(
        find "$1" -type f -name 'test_*.py' ! -path '*/venv/*' ! -path '*/node_modules/*' \\
            ! -path '*/prototype/*' "${@:2}" -print0 | sort -z
    )
}
collect tests ! -path 'tests/manual_tests/*' ! -path 'tests/test_integration/*'
for extra in .claude/commands/tests orchestration/tests claude_command_scripts/commands \\
    claude-bot-commands/tests; do
    collect "$extra"
done
if $integration; then
    collect test_integration
    collect tests/test_integration
elif [ -f test_integration/test_integration_mock.py ]; then
    files+=(test_integration/test_integration_mock.py)
fi
echo "[INFO] Found ${#files[@]} test file(s):"
printf '  - %s\\n' "${files[@]}"
failed=0
for file in "${files[@]}"; do
    echo "[INFO] Running: $file"
    if "$python" "$file" 2>&1; then
        echo "[PASS] $file completed successfully"
    else
        echo "[FAIL] $file failed"
        failed=$((failed + 1))
    fi
done
[ "$failed" -eq 0 ]
"""

RUN_CI_REPLICA = """\
#!/bin/bash
if [ ! -f mvp_site/requirements.txt ]; then
    echo "Run this from the project root"
    exit 1
fi
export CI=true GITHUB_ACTIONS=true TESTING=true TEST_MODE=mock
echo "Running CI Environment Replica"
exec ./run_tests.sh
"""

TESTS = {
    f"mvp_site/{path}": script("print('ran', os.environ['TEST_MODE'])")
    for path in (
        "tests/test_cart.py",
        "tests/deep/test_stock.py",
        "tests/manual_tests/test_by_hand.py",
        "tests/test_integration/test_shop.py",
        "tests/venv/test_of_a_package.py",
        "orchestration/tests/test_agents.py",
        ".claude/commands/tests/test_commands.py",
        "test_integration/test_integration_mock.py",
        "test_integration/test_database.py",
    )
}

WORKFLOW = """\
name: tests
on:
  push:
    paths: ["mvp_site/**", "run_tests.sh", '.github/workflows/*']
jobs:
  tests:
    runs-on: ubuntu-latest
    steps:
      - run: chmod +x run_tests.sh
      - name: Unit tests
        run: ./run_tests.sh
      - name: All tests
        run: |
          bash run_tests.sh --integration
"""

CALLERS: dict[str, str | bytes] = {
    "Makefile": "test:\n\t@bash run_tests.sh $(ARGS)\n\nci:\n\t./run_ci_replica.sh\n\n.PHONY: test ci\n",
    ".github/workflows/tests.yml": WORKFLOW,
    ".github/workflows/nightly.yml": (
        'jobs:\n  n:\n    steps:\n      - run: bash "${GITHUB_WORKSPACE}/run_tests.sh"\n'
    ),
    ".gitlab-ci.yml": "tests:\n  script:\n    - sh ./run_tests.sh\n",
    ".circleci/config.yml": "jobs:\n  t:\n    steps:\n      - run: {command: './run_ci_replica.sh'}\n",
    "package.json": (
        '{"scripts": {"test": "bash ./run_tests.sh", "test:all": "./run_tests.sh --integration"}}\n'
    ),
    "tox.ini": "[testenv]\nallowlist_externals = bash\ncommands = bash run_tests.sh {posargs}\n",
    "pyproject.toml": '[tool.poe.tasks]\ntest = "bash run_tests.sh"   # all\n',
    "Dockerfile": ('COPY . /app/\nRUN chmod +x /app/run_tests.sh\nCMD ["bash", "/app/run_tests.sh"]\n'),
    "docker-compose.yml": "services:\n  t:\n    command:\n      - bash\n      - run_tests.sh\n",
    ".gitattributes": "run_tests.sh text eol=lf\n",
    ".dockerignore": "!run_tests.sh\n",
    "CODEOWNERS": "/run_tests.sh @team\n",
    "justfile": "test *args:\n    ./run_tests.sh {{args}}\n",
    "scripts/push.sh": (
        '#!/bin/bash\nROOT="$(cd "$(dirname "$0")/.." && pwd)"\nbash "$ROOT/run_tests.sh" "$@" || exit 1\n'
    ),
    "scripts/hook": '#!/bin/sh\nexec "$(git rev-parse --show-toplevel)/run_tests.sh" --unit\n',
    "scripts/words.sh": (
        '#!/bin/sh\ncase "$1" in\n  *run_tests.sh) echo tests ;;\n  */run_ci_replica.sh) echo ci ;;\nesac\n'
    ),
    "scripts/call.py": 'import subprocess\nsubprocess.run(["bash", "run_tests.sh", "--unit"], check=True)\n',
    "scripts/call.js": "require('child_process').execFileSync('./run_tests.sh', ['--unit'])\n",
    "tools/bom.ps1": b"\xef\xbb\xbfbash .\\run_tests.sh\r\n# end\r\n",
    "docs/latin.txt": b"Caf\xe9: ./run_tests.sh\n",
    "docs/mixed.txt": b"one run_tests.sh\r\ntwo run_tests.sh\nthree run_tests.sh\rend",
    ".claude/commands/test.md": "Run `./run_tests.sh`, then `./run_ci_replica.sh`.\n",
    "README.md": (
        "# Shop\n\nRun `./run_tests.sh` ([script](run_tests.sh)), or `bash run_tests.sh --coverage`.\n"
    ),
    **{
        f"docs/guide_{number}.md": f"Step {number}: `./run_tests.sh --integration`.\n" for number in range(24)
    },
    **{f"roadmap/plan_{number}.md": "- [ ] run_tests.sh and run_ci_replica.sh pass\n" for number in range(8)},
}
"""What calls the scripts and can be changed, by path."""

STAYING: dict[str, str | bytes] = {
    "my_run_tests.sh": "echo mine  # as run_tests.sh.bak\n",
    "docs/history.md": "We had `./run_tests.sh` once. <!-- passmuster: keep -->\n",
    "docs/others.md": "See https://github.com/somebody/else/blob/main/run_tests.sh and other/run_tests.sh.\n",
    "other/run_tests.sh": "#!/bin/sh\n",
    "other/README.md": "`./run_tests.sh` tests this folder.\n",
    "node_modules/x/README.md": "./run_tests.sh\n",
    "vendor/x.md": "./run_tests.sh\n",
    "ignored.log": "./run_tests.sh\n",
    "data.bin": b"./run_tests.sh\0\n",
    ".gitignore": "venv\n*.log\nnode_modules/\n__pycache__/\n",
    "mvp_site/requirements.txt": "",
    "mvp_site/main.py": "VALUE = 1\n",
}
"""What must not change, by path."""

BY_HAND: dict[str, str | bytes] = {
    "scripts/lint.sh": "#!/bin/sh\nshellcheck run_tests.sh\n",
    "scripts/functions.sh": "#!/bin/sh\nsource run_tests.sh\n",
    "worker.Dockerfile": "COPY run_tests.sh /app/\n",
}
"""What is left to a person, by path."""

SCRIPTS = {"run_tests.sh": RUN_TESTS, "run_ci_replica.sh": RUN_CI_REPLICA}
