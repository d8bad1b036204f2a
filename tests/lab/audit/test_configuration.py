"""The audit of a configuration equals the audit of the exported model."""

import json
import subprocess
import sys

import pytest

from chirrup.lab.audit.comparison import compare_description
from chirrup.lab.audit.configuration import audit_config
from chirrup.lab.models import CONFIGS
from chirrup.zoo import FOLDER
from small_model import ENTRY, NAME, Exported

pytest_plugins = ["models_fixture"]


def test_the_audit_of_a_configuration_equals_that_of_the_exported_model(
    small_export: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONFIGS, NAME, ENTRY)
    about = audit_config(NAME)
    exported = json.loads((small_export.folder / "model.json").read_text())
    assert about == {key: exported[key] for key in about}
    assert json.loads(json.dumps(about)) == about


def test_an_unknown_name_raises() -> None:
    with pytest.raises(ValueError, match="no model is called 'oris'"):
        audit_config("oris")


AUDIT_ALL = """
import json, resource, time
resource.setrlimit(resource.RLIMIT_DATA, (2 * 10**9,) * 2)
from chirrup.lab.audit.configuration import audit_config
from chirrup.lab.models import CONFIGS
for name in CONFIGS:
    start = time.process_time()
    audit = audit_config(name)["audit"]
    seconds = time.process_time() - start
    print(json.dumps([name, seconds, audit["latency_samples"], audit["latency_measured_samples"]]))
"""


@pytest.mark.slow
def test_every_configuration_is_audited_in_two_gigabytes_and_thirty_seconds() -> None:
    """Memory is what the process allocates, and time is CPU time. All take 30 s together."""
    done = subprocess.run([sys.executable, "-c", AUDIT_ALL], capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [name for name, *_ in rows] == list(CONFIGS), done.stderr
    for name, seconds, nominal, measured in rows:
        assert seconds < 30, name
        assert 0.75 * nominal <= measured <= nominal, name


def test_a_receptive_field_is_counted_at_the_rate_of_the_input() -> None:
    about = json.loads((FOLDER / "focal-small" / "model.json").read_text())
    audit = compare_description(about, 0)
    assert about["sample_rate_hz"] != about["input_rate_hz"] == 16_000
    samples = about["audit"]["receptive_field_samples"]
    assert audit["encoder_receptive_field_ms"] == pytest.approx(samples / 16)
