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


def test_the_largest_configurations_fit_in_two_gigabytes() -> None:
    """The memory of an audit depends on the size of the model only. Takes 30 s of CPU time."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_DATA, (2 * 10**9,) * 2);"
        "from chirrup.lab.audit.configuration import audit_config;"
        "audits = [audit_config(n)['audit'] for n in ('spectro', 'tq-imbalanced', 'focal-65k')];"
        "print([audit['latency_measured_samples'] for audit in audits])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[4319, 64, 1442]\n", done.stderr


def test_a_receptive_field_is_counted_at_the_rate_of_the_input() -> None:
    about = json.loads((FOLDER / "focal-small" / "model.json").read_text())
    audit = compare_description(about, 0)
    assert about["sample_rate_hz"] != about["input_rate_hz"] == 16_000
    samples = about["audit"]["receptive_field_samples"]
    assert audit["encoder_receptive_field_ms"] == pytest.approx(samples / 16)
