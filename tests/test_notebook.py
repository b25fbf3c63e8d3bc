"""The example notebook, in a kernel: what is finished is not done again, whatever is run again."""

import json
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "examples" / "survey.ipynb"


def source_of(cell):
    return "".join(cell["source"])


def cells_of_code():
    return [cell for cell in json.loads(BOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_the_example_notebook_is_kept_with_its_outputs_and_they_are_small():
    text = BOOK.read_text(encoding="utf-8")
    outputs = [output for cell in cells_of_code() for output in cell["outputs"]]
    assert len(text) < 60_000 and sum("text/html" in output.get("data", {}) for output in outputs) >= 5
    assert not any(output["output_type"] == "error" for output in outputs)
    assert str(ROOT) not in text and "/tmp" not in text


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """`kernel()` → `run(source)`, which returns the value of a cell's last line, in a new process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of other packages
        nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
        pytest.importorskip("ipykernel")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        opened = []

        def start():
            place = {"metadata": {"path": str(tmp_path)}}
            book = nbformat.v4.new_notebook()
            client = nbclient.NotebookClient(book, timeout=60, kernel_name="python3", resources=place)
            context = client.setup_kernel()
            context.__enter__()
            opened.append(context)

            def run(source):
                cell = nbformat.v4.new_code_cell(source)
                book.cells.append(cell)
                client.execute_cell(cell, len(book.cells) - 1)
                values = [output for output in cell.outputs if output.output_type == "execute_result"]
                shown = [output.data.get("text/html", "") for output in cell.outputs if "data" in output]
                return (values[-1].data["text/plain"] if values else None), "".join(shown)

            return run

        yield start
        for context in reversed(opened):
            context.__exit__(None, None, None)


def test_cells_that_are_run_again_and_a_kernel_that_is_restarted_do_no_finished_work_again(kernel):
    sources = [source_of(cell) for cell in cells_of_code()]
    run = kernel()
    seen = [run(source) for source in sources]
    assert seen[-1][0] == "42"  # bodies: 30 and their total, 10 and one again
    assert all('class="taskcore"' in seen[place][1] for place in (1, 3, 4))  # the bar of `run()`, an engine, a job
    for source in sources[1:]:
        run(source)  # each once more
    assert run("len(ran)")[0] == "42"
    run(sources[1].replace("40 + plate", "1000 + plate"))  # the body is another one now
    assert run("len(ran), answer.result()")[0] == "(42, 1531)"
    assert run("measure.submit(99).result()['stars'] >= 1000")[0] == "True"
    run = kernel()  # restarted
    for source in sources:
        run(source)
    assert run("len(ran)")[0] == "0"
