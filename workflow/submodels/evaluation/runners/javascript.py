"""JavaScript: one Node.js process for each sample.

Tests that use Node's `assert` end the program; those that use console.assert only write to stderr, and their benchmark
is `quiet`.
"""

import json
import re
from pathlib import Path

from submodels.benchmarks.metrics.base import text_fault
from submodels.evaluation.extraction import program_start, without_comments
from submodels.evaluation.runners.verdicts import program_verdict
from submodels.verdict import COMPILE_ERROR, FAILED, Verdict

TOOLS = {"node": "apt-get install nodejs"}
JAVA = None
EMPTY = ""
SEES = "Programs see only Node's built-in modules: write the tests without it"

_CONSOLE_ASSERT = re.compile(r"\bconsole\s*\.\s*assert\b")
_REQUIRE = re.compile(r"\brequire\s*\(\s*(['\"`])(?!node:|[./])([^'\"`\n]+)\1\s*\)")
_NODE_MB = 512  # memory of Node.js beside its heap
# The program that Node.js runs. It takes the nonce from stdin before any of the sample runs, keeps it where no property
# and no text of a function shows it, and writes it once the tests have returned. Solution and tests are two scripts of
# one global scope: neither is a function whose text can be read, and the solution cannot return past its tests. The
# objects that tests use are made unchangeable: console, JSON, Math, `require` and the `assert` it gives. As in a
# module, a solution may declare its own `console`, but not `module`, `exports` or `require` with const, let or class.
_GUARD = """'use strict'
const { readFileSync, readSync, unlinkSync, writeSync } = require('fs')
const { Script } = require('vm')
const assert = require('assert')
const nonce = Buffer.alloc(33, '\\n')
for (let n = 0; n < 32;) n += readSync(0, nonce, n, 32 - n) || 32
const [solution, tests] = ['solution.js', 'tests.js'].map((name) => {
  const text = readFileSync(name, 'utf8')
  unlinkSync(name)
  return { name, text }
})
unlinkSync(__filename)
console.assert = (condition, ...message) => {
  if (!condition) writeSync(2, ['Assertion failed', ...message.map(String)].join(' ') + '\\n')
}
const load = require
const given = Object.assign((name) => (name === 'assert' || name === 'node:assert' ? assert : load(name)), load)
for (const thing of [console, JSON, Math, assert, assert.strict, given, Script.prototype,
  Object.getPrototypeOf(Script.prototype)]) Object.freeze(thing)
const define = (values, rights) => {
  for (const [name, value] of Object.entries(values)) Object.defineProperty(globalThis, name, { value, ...rights })
}
define({ console, JSON, Math }, { writable: false, configurable: true })
define({ require: given }, { writable: false, configurable: false })
define({ module, exports, __filename: '/tmp/solution.js', __dirname: '/tmp' },
  { writable: true, enumerable: true, configurable: false })
const run = ({ name, text }) => new Script(text, { filename: name })
const first = run(solution)
const second = run(tests)
first.runInThisContext()
second.runInThisContext()
writeSync(1, nonce)
"""


def fault(item: dict, quiet: bool) -> str | None:
    if found := text_fault(item, "prompt", "test"):
        return found
    if _CONSOLE_ASSERT.search(item["test"]) and not quiet:
        return "the `test` uses console.assert, which fails no program; say `quiet: true` in the task file's metadata"
    return None


def libraries(item: dict) -> dict[str, str]:
    """Call of `require` -> module, for each module that the prompt and the tests require."""
    calls = _REQUIRE.findall(without_comments(f"{program_start(item)}\n{item['test']}"))
    return {f"require({json.dumps(module)})": module for _, module in calls}


def prepare(programs: list[tuple[dict, str]], tools: dict[str, Path]) -> dict[str, Path]:
    return {}


def job(item: dict, completion: str, nonce: str, tools: dict[str, Path], timeout: float, memory_mb: int) -> dict:
    command = [str(tools["node"]), f"--max-old-space-size={memory_mb}", "guard.js"]
    return {
        "files": {
            "guard.js": _GUARD,
            "solution.js": f"{program_start(item)}{completion}\n",
            "tests.js": item["test"] + "\n",
        },
        "java": None,
        "steps": [{"command": command, "timeout": timeout, "memory_mb": memory_mb + _NODE_MB}],
    }


def verdict(outcome: dict, nonce: str) -> Verdict:
    memory_errors = ("JavaScript heap out of memory", "Array buffer allocation failed")
    verdict = program_verdict(outcome, (outcome["nonce"],), memory_errors)
    # Node.js compiles as it starts, so a syntax error arrives as a failure of the program.
    is_syntax_error = verdict.status == FAILED and verdict.detail.startswith("SyntaxError")
    return verdict._replace(status=COMPILE_ERROR) if is_syntax_error else verdict
