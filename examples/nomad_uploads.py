"""Uploads of a data repository: unpacked, parsed an entry a task, indexed, published; killed at any time and continued.

    python examples/nomad_uploads.py --die-after 2      # dies by SIGKILL in the middle of the third entry ...
    python examples/nomad_uploads.py                    # ... and goes on with that one
    python examples/nomad_uploads.py --replace          # upload-7 anew, with all of the file that was cut off

Calls on one upload run one behind the other; when one fails, those behind it are skipped. The files are these examples.
"""

import argparse
import ast
import io
import logging
import os
import shutil
import signal
import sys
import tarfile
import tokenize
from itertools import count
from pathlib import Path

sys.path.append(os.path.abspath(f"{__file__}/../.."))  # a clone works without being installed

import taskcore

logging.getLogger("taskcore").setLevel(logging.ERROR)  # what fails here is meant to, and is printed below

arguments = argparse.ArgumentParser(description="Process and publish two uploads.")
arguments.add_argument("--die-after", type=int, metavar="N", help="die by SIGKILL after N entries")
arguments.add_argument("--replace", action="store_true", help="upload the first one again, with nothing cut off")
options = arguments.parse_args()

logging.basicConfig(format="%(message)s", level="INFO", stream=sys.stdout)
log = logging.getLogger("uploads")  # what a body logs is kept with its task, too
engine = taskcore.Engine("uploads.db", workers=1)
begun = count()
HERE = Path(__file__).resolve().parent
UPLOADS = {"upload-7": ["census.py", "nomad_uploads.py", "survey_night.py", "../LICENSE"], "upload-8": ["../LICENSE"]}


@engine.task
def process(upload):
    """Runs from the top when its entries have ended, and passes what it has behind it: steps and entries."""
    run = taskcore.current()
    files = run.step("unpacking", unpack, upload)  # never repeated
    entries = [f"{upload}/{path}" for path in files if path.endswith(".py")]  # what there is a parser for
    if not entries:
        raise ValueError("no file that there is a parser for")
    run.message(f"{len(entries)} entries in work")  # each is a task of its own; this one has no thread meanwhile
    found = run.gather(process_entry, entries, return_exceptions=True)
    good = [facts for facts in found if not isinstance(facts, Exception)]
    run.transact("indexing", index, upload, good)  # exactly once
    run.message(f"{len(good)} of {len(entries)} entries are indexed")


@engine.task
def process_entry(entry):
    """One that cannot be parsed is a failed task, with the reason; its upload goes on."""
    return taskcore.current().step("parsing", parse, entry)


@engine.task
def publish(upload):
    run = taskcore.current()
    packed = run.step("packing", shutil.make_archive, f"public/{upload}", "gztar", f"staging/{upload}")
    run.step("cleaning up", shutil.rmtree, f"staging/{upload}", ignore_errors=True)
    run.message(f"published: {Path(packed).name}")


def unpack(upload):
    with tarfile.open(f"{upload}.tar") as tar:
        tar.extractall(f"staging/{upload}", filter="data")
        log.info("%s: %s", upload, ", ".join(tar.getnames()))
        return tar.getnames()


def parse(entry):
    if next(begun) == options.die_after:
        os.kill(os.getpid(), signal.SIGKILL)
    source = Path("staging", entry).read_bytes()
    nodes = list(ast.walk(ast.parse(source, entry)))
    functions = sum(isinstance(node, ast.FunctionDef) for node in nodes)
    comments = sum(token.type == tokenize.COMMENT for token in tokenize.tokenize(io.BytesIO(source).readline))
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    log.info("%s: %d functions, %d comments", entry, functions, comments)
    return entry, functions, comments, " ".join(sorted(modules))


def index(db, upload, entries):
    db.execute("DELETE FROM entry WHERE upload = ?", (upload,))
    db.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", [(upload, *entry) for entry in entries])


def receive(member):
    if member.name == "nomad_uploads.py" and not options.replace:
        member.size = 300  # the rest is lost
    return member


for upload, paths in UPLOADS.items():
    with tarfile.open(f"{upload}.tar", "w") as tar:
        for path in paths:
            tar.add(HERE / path, Path(path).name, filter=receive)
with engine.transaction() as db:  # of each name and key there is one, however often it is submitted
    db.execute("CREATE TABLE IF NOT EXISTS entry (upload, entry, functions, comments, modules)")
    queued = [f.options(key=upload, serial=upload).submit(upload) for upload in UPLOADS for f in (process, publish)]
if options.replace:
    engine.tasks.where(name="process_entry").delete()  # what was found in the former files
    engine.tasks.where(ids=queued[:2]).rerun()
engine.run()

for call in queued:
    task, steps = call.snapshot(), ", ".join(step.name for step in call.steps()) or "never begun"
    print(f"{task.key}: {task.name} {task.status} ({steps}): {task.last_error or task.message}")
    for entry in engine.tasks.where(parent=call, phase="failed"):
        print(f"  entry {entry.id}: {entry.last_error}")
with engine.transaction() as db:
    found = db.execute("SELECT entry FROM entry WHERE modules LIKE '%signal%' ORDER BY entry")
    print("entries that import signal:", *(entry for (entry,) in found))

# Output:
# $ python examples/nomad_uploads.py --die-after 2
# upload-7: census.py, nomad_uploads.py, survey_night.py, LICENSE
# upload-8: LICENSE
# upload-7/census.py: 7 functions, 35 comments
# $ python examples/nomad_uploads.py
# upload-7/survey_night.py: 5 functions, 38 comments
# upload-7: process succeeded (unpacking, indexing): 2 of 3 entries are indexed
#   entry 6: SyntaxError: unterminated triple-quoted string literal (detected at line 4) (nomad_uploads.py, line 1)
# upload-7: publish succeeded (packing, cleaning up): published: upload-7.tar.gz
# upload-8: process failed (unpacking): ValueError: no file that there is a parser for
# upload-8: publish skipped (never begun): #3 is failed (ValueError: no file that there is a parser for)
# entries that import signal: upload-7/census.py upload-7/survey_night.py
# $ python examples/nomad_uploads.py --replace
# upload-7: census.py, nomad_uploads.py, survey_night.py, LICENSE
# upload-7/census.py: 7 functions, 35 comments
# upload-7/nomad_uploads.py: 7 functions, 32 comments
# upload-7/survey_night.py: 5 functions, 38 comments
# upload-7: process succeeded (unpacking, indexing): 3 of 3 entries are indexed
# upload-7: publish succeeded (packing, cleaning up): published: upload-7.tar.gz
# upload-8: process failed (unpacking): ValueError: no file that there is a parser for
# upload-8: publish skipped (never begun): #3 is failed (ValueError: no file that there is a parser for)
# entries that import signal: upload-7/census.py upload-7/nomad_uploads.py upload-7/survey_night.py
