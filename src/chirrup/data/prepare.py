"""Preparation of a corpus in four steps: scan, measure, select and write.

A repeated run continues where the last one stopped. The folder always has the working file
(`store`) and whole shards. When all steps are done, it also has the manifest, the list of refused
recordings and the report.
"""

import csv
import importlib.metadata
import importlib.util
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from chirrup.data import balance, filters, measure, rooms, shards, splits
from chirrup.data.item import KINDS, SPLITS, Item, legible
from chirrup.data.layouts import parse, scan
from chirrup.data.manifest import FIGURES, write_manifest
from chirrup.data.recipe import MANIFESTS as FORMS
from chirrup.data.recipe import Recipe
from chirrup.data.store import NAME, Store, Stored, early_name
from chirrup.data.workers import Run
from chirrup.errors import FileError
from chirrup.files.drafts import only_one, written
from chirrup.files.sqlite import naming_errors

RECIPE, REFUSED, REPORT = "recipe.json", "refused.csv", "report.html"
KEPT = "WHERE split != ''"
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Prepared:
    """The result of `prepare`.

    Attributes:
        kept: number of kept recordings.
        refused: number of refused recordings.
        seconds: length of all kept recordings.
    """

    kept: int
    refused: int
    seconds: float


def prepare(
    sources: Sequence[str],
    folder: Path,
    recipe: Recipe,
    run: Run,
    *,
    facts: dict[str, str] | None = None,
    force: bool = False,
    progress: Progress = lambda done, total, step: None,
) -> Prepared:
    """Prepare a corpus, or continue its preparation.

    Args:
        sources: sources as `layouts.parse` takes them, in addition to the sources of the recipe.
        folder: folder of the corpus.
        recipe: the recipe.
        run: runs the jobs, see `workers`.
        facts: facts that ``sources`` do not state, by field of `Item`.
        force: remove recordings of the corpus that are no longer in the sources.
        progress: called with the steps done, their total number and the name of the step.

    Raises:
        FileError: a source, the folder or the recipe cannot be used, or recordings of the corpus
            are no longer in the sources.
    """
    _check_extra(recipe)
    places = [(*parse(text), facts or {}) for text in sources]
    for source in recipe.sources:
        stated = {key: value for key, value in vars(source).items() if key != "path"}
        places.append((*parse(source.path), stated))
    if not places and not recipe.rooms.rooms:
        raise FileError("nothing to prepare: give a source")
    new = _is_new(folder)
    with (
        only_one(folder, "chirrup data prepare"),
        naming_errors(folder / NAME, "remove it; all files are then measured again"),
        Store(folder) as store,
    ):
        items = chain(*(_scanned(*place) for place in places), rooms.simulated(recipe.rooms))
        try:
            if not store.scanned(_stamped(items, recipe), _measuring(recipe), force):
                raise FileError("the sources have no audio that soundfile reads")
        except FileError:
            if new:
                store.discard()
                folder.rmdir()
            raise
        _measure(store, recipe, run, progress)
        _select(store, recipe)
        _place(store, recipe)
        _write(store, folder, recipe, run, progress)
        return _finish(store, folder, recipe)


def _check_extra(recipe: Recipe) -> None:
    wanted = ["pyloudnorm", "matplotlib"]
    wanted += ["pyarrow"] if recipe.manifest == "parquet" else []
    for package in wanted:
        if importlib.util.find_spec(package) is None:
            raise FileError(
                f"data needs {package}, which is not installed: pip install 'chirrup[data]'"
            )
    if recipe.dnsmos:
        from chirrup.evaluate.metrics import available

        if (reason := available("dnsmos")) is not None:
            raise FileError(f"dnsmos: {reason}")
    if recipe.classifier:
        measure.classifier(recipe.classifier)


def _is_new(folder: Path) -> bool:
    """Return whether a folder for a corpus does not exist yet.

    Raises:
        FileError: the path is not a folder, or the folder has other files.
    """
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder} is not a folder: give another --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / NAME).is_file():
        raise FileError(f"{folder} is neither empty nor a corpus: give another --out")
    return not folder.exists()


# --- scan and measure ----------------------------------------------------------------------------


def _scanned(layout: str, folder: Path, facts: dict[str, str]) -> Iterator[Item]:
    for item in scan(layout, folder):
        yield item.with_facts(facts)


def _stamped(items: Iterable[Item], recipe: Recipe) -> Iterator[tuple[Item, str]]:
    for item in items:
        if item.path.startswith(rooms.PREFIX):
            yield item, json.dumps(recipe.plain()["rooms"])
            continue
        try:
            about = Path(item.path).stat()
            stamp = f"{about.st_size} {about.st_mtime_ns}"
        except OSError:
            stamp = "missing"  # the measurement reports it
        yield item, stamp


def _measuring(recipe: Recipe) -> str:
    """Return the settings on which the measurement depends, except for simulated rooms.

    The stamps of simulated rooms contain their settings.
    """
    settings = {key: value for key, value in measure.settings_of(recipe).items() if key != "rooms"}
    return json.dumps({**settings, "version": importlib.metadata.version("chirrup")})


def _measure(store: Store, recipe: Recipe, run: Run, progress: Progress) -> None:
    pending, settings = store.pending(), measure.settings_of(recipe)
    jobs = (measure.job(number, store.item(number), settings) for number in pending)
    for done, result in enumerate(_results(run(measure.run, jobs, measure.crashed))):
        progress(done, len(pending), "measuring")
        store.measured(result["number"], result["records"])
    store.commit()


def _results(results: Iterable[str]) -> Iterator[dict[str, Any]]:
    for text in results:
        result = json.loads(text)
        if "error" in result:
            raise FileError(result["error"])
        yield result


# --- select and place ----------------------------------------------------------------------------


def _select(store: Store, recipe: Recipe) -> None:
    clips = list(store.clips(filters.ORDER))
    filters.refuse_outside_limits(clips, recipe)
    balance.speech(clips, recipe)
    balance.noise(clips, recipe)
    splits.assign(clips, recipe)
    store.decided(clips)
    if not any(clip.split for clip in clips):
        reasons = "; ".join(f"{count} by {name} ({why})" for name, count, why in store.reasons())
        raise FileError(f"no recording passes the recipe; refused: {reasons}")


def _place(store: Store, recipe: Recipe) -> None:
    """Assign a path and a position in a shard to every kept clip.

    The clips of a group are numbered. Shards are read one by one, so each contains many groups.
    """
    names: dict[str, int] = defaultdict(int)
    found: dict[str, list[tuple[bytes, float, str, int]]] = defaultdict(list)
    for clip in store.stored(f"{KEPT} ORDER BY key, clip.id"):
        part = f"{clip.item.kind}_{clip.split}"
        base = stem = f"{part}/{_stem(clip)}"
        if not clip.item.name or clip.record["pieces"] > 1:
            stem = f"{base}__000"
        while stem in names:
            names[base] += 1
            stem = f"{base}__{names[base]:03d}"
        names[stem] += 0
        path = shards.member(clip, stem, recipe).path
        rank = balance.order(recipe.seed, "shard", clip.record["content"])
        found[part].append((rank, clip.record["seconds"], path, clip.id))
    places: list[tuple[str, str, int, int]] = []
    limit = 60 * (recipe.shard_minutes or Recipe.shard_minutes)
    for part, members in found.items():
        shard, seconds = 0, 0.0
        for place, (_, length, path, number) in enumerate(sorted(members)):
            if seconds and seconds + length > limit:
                shard, seconds = shard + 1, 0.0
            seconds += length
            places.append((path, f"{part}/{part}-{shard:06d}.tar", place, number))
    store.placed(places)


def _stem(clip: Stored) -> str:
    return clip.item.name.replace(".", "_") or shards.slug(clip.item.group)


# --- write ---------------------------------------------------------------------------------------


def _write(store: Store, folder: Path, recipe: Recipe, run: Run, progress: Progress) -> None:
    names, before = store.shards(), store.written()
    plans: dict[str, str] = {}
    for form in FORMS:  # no manifest exists until all shards are written
        (folder / f"manifest.{form}").unlink(missing_ok=True)

    def jobs() -> Iterator[str]:
        for name in names:
            clips = store.stored("WHERE shard = ? ORDER BY place", (name,))
            members = [shards.member(clip, clip.path.rpartition(".")[0], recipe) for clip in clips]
            job = shards.job(folder, name, members, recipe)
            plans[name] = shards.plan_of(job)
            written = store.members(name, plans[name])
            if not written or not _there(folder, name, written, recipe):
                yield job

    for done, result in enumerate(_results(run(shards.write, jobs(), None))):
        progress(done, len(names), "writing")
        store.keep_members(result["name"], plans[result["name"]], result["members"])
    store.commit()
    _remove_old(store, folder, recipe, before)


def _there(folder: Path, name: str, members: list[dict[str, Any]], recipe: Recipe) -> bool:
    paths = [name] if recipe.shard_minutes else [one["path"] for one in members]
    return all((folder / path).is_file() for path in paths)


def _remove_old(store: Store, folder: Path, recipe: Recipe, before: set[str]) -> None:
    """Remove shards and files of an earlier recipe that the store lists, or listed before."""
    wanted: set[str] = set()
    if recipe.shard_minutes:
        wanted.update(store.shards())
    else:
        for clip in store.stored(KEPT):
            wanted |= {clip.path, early_name(clip.path)}
    parts = {f"{kind}_{split}" for kind in KINDS for split in SPLITS}
    for name in (before | store.written()) - wanted:
        if name.rpartition("/")[0] in parts:
            (folder / name).unlink(missing_ok=True)
    for part in parts:
        if (folder / part).is_dir() and not any((folder / part).iterdir()):
            (folder / part).rmdir()


def _finish(store: Store, folder: Path, recipe: Recipe) -> Prepared:
    """Manifest, refusals, recipe and report, each whole or not at all."""
    from chirrup.data.report import write_report

    with written(folder / f"manifest.{recipe.manifest}") as draft:
        write_manifest(draft, _rows(store, recipe), recipe.manifest)
    with (
        written(folder / REFUSED) as draft,
        draft.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "start_seconds", "source", "reason", "detail"))
        for clip in store.stored("WHERE reason != '' ORDER BY key, clip.id"):
            item, start = clip.item, clip.record.get("start", 0)
            start_s = f"{start / clip.record.get('sample_rate_hz', 1):.3f}"
            writer.writerow((legible(item.key), start_s, item.source, clip.reason, clip.detail))
    made = {"chirrup": importlib.metadata.version("chirrup"), "recipe": recipe.plain()}
    with written(folder / RECIPE) as draft:
        draft.write_text(json.dumps(made, indent=1) + "\n")
    summary = write_report(store, recipe, folder / REPORT)
    return Prepared(summary.kept, summary.refused, summary.kept_seconds)


def _rows(store: Store, recipe: Recipe) -> Iterator[dict[str, Any]]:
    """Yield the rows of the manifest, shard by shard."""
    for name in store.shards():
        members = {row["path"]: row for row in store.members(name)}
        for clip in store.stored("WHERE shard = ? ORDER BY place", (name,)):
            item, record, row = clip.item, clip.record, members[clip.path]
            yield {
                **row,
                "shard": name if recipe.shard_minutes else "",
                "kind": item.kind,
                "split": clip.split,
                "source": item.source,
                "original": item.original or legible(item.key),
                "start_seconds": round(record["start"] / record["sample_rate_hz"], 3),
                "group": item.group,
                "gender": item.gender,
                "language": item.language,
                "category": item.category or record.get("category", ""),
                "licence": item.licence,
                "attribution": item.attribution,
                "seconds": round(row["seconds"], 6),
                "original_sample_rate_hz": record["sample_rate_hz"],
                **{figure: record[figure] for figure in FIGURES if figure in record},
            }
