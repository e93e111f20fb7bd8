"""The report in Weights & Biases: a run `aggregate` in the group of the study, and a saved workspace."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from mtl.loggers import Mode, begin, forget_logs, unsynced
from mtl.report.rows import Rows

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace


def log(
    rows: Rows,
    folder: Path,
    table: Sequence[Mapping[str, Any]],
    comparisons: Sequence[Mapping[str, Any]],
    figures: Sequence[Path],
) -> str:
    """Log the records of both tables and the PNGs among `figures` to the run `aggregate`; what was done, in words.

    Project and entity are those of the study's first run; the mode is WANDB_MODE, offline without. A report that is
    logged again takes the place of the last one. Online the study's workspace is saved, too. No picture of the data is
    logged.

    Raises:
        ValueError: WANDB_MODE is none of wandb's; or W&B cannot be used, with its reason.
    """
    import wandb

    mode = os.environ.get("WANDB_MODE", "offline")
    if mode not in get_args(Mode):
        raise ValueError(f"the W&B mode must be offline, online or disabled, found '{mode}'; change WANDB_MODE")
    study = rows.study
    project, entity = _place(rows)
    identity = sha1(f"{study.name}aggregate".encode()).hexdigest()[:16]
    older = list(unsynced(folder / "wandb", identity))
    try:
        run = begin(
            folder,
            cast(Mode, mode),
            20.0,
            id=identity,
            name=f"{study.name}-aggregate",
            project=project,
            entity=entity,
            group=study.name,
            job_type="aggregate",
            tags=["aggregate", *(["synthetic"] if (study.done["synthetic"] == True).any() else [])],  # noqa: E712
            config={"runs": sorted(study.done["run"]), **{f"shared/{key}": v for key, v in study.shared.items()}},
        )
        content: dict[str, Any] = {
            name: wandb.Table(columns=list(records[0]), data=[list(record.values()) for record in records])
            for name, records in (("table", table), ("comparisons", comparisons))
            if records
        }
        content |= {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures if path.suffix == ".png"}
        run.log(content, step=0, commit=True)
        run.finish()
        for path in older:
            shutil.rmtree(path)
        words = f"run {study.name}-aggregate ({mode}) in {folder}/wandb"
        if mode == "online":
            built = workspace(rows, project, entity or run.entity)
            built.save()
            words += f", workspace {built.url}"
        return words
    except Exception as error:  # whatever wandb, pydantic or the system raise is a reason, not a traceback
        raise ValueError(f"W&B: {(str(error) or type(error).__name__).splitlines()[0]}") from error
    finally:
        forget_logs(folder)


def workspace(rows: Rows, project: str, entity: str) -> Workspace:
    """A view of the runs of one study: scores by weighting, curves, weights, conflicts, and the report's own figures.

    Building it needs no network; `save()` does.
    """
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as ws

    tasks, epochs = rows.tasks, rows.study.epochs
    primary = [rows.primary(task)[0] for task in tasks]
    by = panels.Config("names.weighting")

    def lines(title: str, *keys: str, log: bool = False) -> panels.LinePlot:
        return panels.LinePlot(
            title=title, x="epoch", y=list(keys), log_y=log or None, groupby=by, groupby_rangefunc="minmax"
        )

    scores = [lines("validation score", "val/score")]
    scores += [lines(key.replace("test/", "val/"), key.replace("test/", "val/")) for key in primary]
    bars = [
        panels.BarPlot(title=key, metrics=[key], groupby=by, groupby_rangefunc="stddev")
        for key in [*primary, "test/score"]
    ]
    columns = [panels.ParallelCoordinatesPlotColumn(panels.Config(key)) for key in rows.study.keys]
    columns += [panels.ParallelCoordinatesPlotColumn(panels.SummaryMetric(key)) for key in primary]
    conflicts = sorted(key for key in epochs.columns if key.startswith("conflict/cos/"))
    sections = [
        ws.Section(name="Results", is_open=True, panels=[*bars, panels.ParallelCoordinatesPlot(columns=columns)]),
        ws.Section(name="Curves", is_open=True, panels=scores),
        ws.Section(
            name="Weights",
            panels=[
                *(lines(f"weight of {task}", f"weight/{task}", log=True) for task in tasks),
                *(lines(f"share of {task}", f"share/{task}") for task in tasks),
            ],
        ),
        ws.Section(name="Conflicts", panels=[lines(key, key) for key in conflicts]),
        ws.Section(
            name="Report",
            panels=[
                panels.WeavePanelSummaryTable(table_name="table"),
                panels.MediaBrowser(title="scores", media_keys=["figures/scores"]),
            ],
        ),
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"study {rows.study.name}",
        sections=[section for section in sections if section.panels],
        runset_settings=ws.RunsetSettings(
            filters=ws.And(ws.Metric("Group") == rows.study.name),
            groupby=[ws.Config("names.weighting")],
            order=[ws.Ordering(ws.Summary("test/score"), ascending=False)],
        ),
    )


def _place(rows: Rows) -> tuple[str, str | None]:
    """Project and entity of the first finished run."""
    run = rows.study.done["run"].iloc[0]
    logger = rows.config(run).get("logger", {}).get("wandb") or {}
    return str(logger.get("project") or "mtl"), logger.get("entity")
