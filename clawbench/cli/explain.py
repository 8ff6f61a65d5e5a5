"""`clawbench explain "MODEL@tags" --plan PLAN` and `clawbench explain RUN REQUEST_ID`: why which offer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
import polars as pl
from rich.console import Console
from rich.table import Table

from clawbench.analysis.frames import NotARun, RunFolder
from clawbench.cli.console import console
from clawbench.config.plan import load_plan
from clawbench.errors import RequestError, UsageError
from clawbench.experiments.cell import build_router
from clawbench.experiments.prepare import prepare
from clawbench.gateway.admission import shape_of
from clawbench.gateway.quotas import Quotas
from clawbench.money import usd_text
from clawbench.routing.explain import Explanation, explain
from clawbench.types import ChatRequest, RequestShape
from clawbench.wires.openai_chat import parse_body

IDS_SHOWN = 3


@click.command("explain")
@click.argument("subject", metavar="REFERENCE | RUN")
@click.argument("request_id", required=False)
@click.option("--plan", type=click.Path(path_type=Path, dir_okay=False), help="Plan whose offers may serve.")
@click.option(
    "--request",
    "request_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSON file with the request as a client would send it; its model gives way to REFERENCE.",
)
@click.option("--prompt-tokens", type=click.IntRange(0), default=1000, show_default=True, help="Without --request.")
@click.option("--max-tokens", type=click.IntRange(1), help="Output limit, without --request.")
@click.option("--stream/--no-stream", default=True, show_default=True, help="Without --request.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value of the plan first.")
@click.option(
    "--warm-from",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Start with these estimates (CELL/estimates.json of a run, or serve's) instead of cold.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    subject: str,
    request_id: str | None,
    plan: Path | None,
    request_file: Path | None,
    prompt_tokens: int,
    max_tokens: int | None,
    stream: bool,
    overrides: tuple[str, ...],
    warm_from: Path | None,
    as_json: bool,
) -> None:
    """Explain a decision: one that REFERENCE ("llama-3.1-8b@price@latency") would lead to under --plan, with nothing
    learned but what --warm-from says, or the one that a past RUN recorded for REQUEST_ID.
    """
    if (plan is None) == (request_id is None):
        raise UsageError(
            "give either a model reference and --plan, or a run's folder and a request id. "
            'Example: clawbench explain "llama-3.1-8b@price" --plan configs/quickstart.toml'
        )
    if request_id is not None:
        told = recorded(Path(subject), request_id)
        if as_json:
            click.echo(msgspec.json.encode(told))
        else:
            _print_recorded(told, console())
        return
    assert plan is not None
    if warm_from is not None:
        overrides = (*overrides, f"routing.warm_from={warm_from.absolute()}")
    shape = RequestShape(
        prompt_tokens=prompt_tokens, max_output_tokens=max_tokens, stream=stream, needs=frozenset()
    )  # what --request does not say
    explanation = _prospective(subject, plan, overrides, request_file, shape)
    if as_json:
        click.echo(msgspec.json.encode(explanation))
    else:
        _print_explanation(explanation, console())


def recorded(path: Path, request_id: str) -> dict[str, Any]:
    """What a run recorded of a request: its own row, and for each attempt the decision and what came of it.

    Raises `UsageError` for a folder that is no run, and for an id that it does not hold.
    """
    try:
        folder = RunFolder(path)
    except NotARun as error:
        raise UsageError(f"{error}. `clawbench runs` lists the runs.") from error
    mine = pl.col("request_id") == request_id
    requests, attempts, decisions = (
        folder.scan(table).filter(mine).collect().to_dicts() for table in ("requests", "attempts", "decisions")
    )
    if not requests:
        some = (
            folder.scan("requests")
            .select("request_id")
            .sort("request_id")
            .head(IDS_SHOWN)
            .collect()["request_id"]
            .to_list()
        )
        raise UsageError(f'{path} has no request "{request_id}". Its ids look like {", ".join(some)}.')
    by_number = {attempt["attempt"]: attempt for attempt in attempts}
    decisions.sort(key=lambda each: each["attempt"])
    steps = [{"decision": each, "attempt": by_number.get(each["attempt"])} for each in decisions]
    return {"request": requests[0], "steps": steps}


def _prospective(
    text: str, plan: Path, overrides: tuple[str, ...], request_file: Path | None, shape: RequestShape
) -> Explanation:
    prepared = prepare(load_plan(plan, overrides=overrides))
    table = prepared.plan.table
    router = build_router(prepared, strategy=table.gateway.default_strategy, seed=0, quotas=Quotas())
    extra: dict[str, Any] = {}
    try:
        if request_file is not None:
            request = _read(request_file)
            shape, extra = shape_of(request), request.extra
        reference = router.reference(text, models=extra.get("models"), provider=extra.get("provider"))
    except RequestError as error:
        raise UsageError(error.message) from error
    return explain(router, reference, shape, at_s=0.0)


def _read(path: Path) -> ChatRequest:
    try:
        return parse_body(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def _print_explanation(explanation: Explanation, out: Console) -> None:
    limit = explanation.max_output_tokens
    kind = "streamed" if explanation.stream else "whole"
    out.print(
        f"{explanation.model or 'any model'} by {explanation.strategy}; {explanation.prompt_tokens:,} prompt tokens, "
        f"{'no output limit' if limit is None else f'at most {limit:,} out'}, {kind}; "
        f"{explanation.exploration:.2%} of picks explore.",
        highlight=False,
    )
    if explanation.candidates:
        out.print(_candidates(explanation))
    else:
        out.print("Nothing is left that could serve it.")
    for tag, single in explanation.by_tag.items():
        chosen = " or ".join(single.offers) or "no offer can be scored"
        odds = f" ({single.probability:.1%})" if single.offers else ""
        out.print(f"@{tag} alone: {chosen}{odds}", markup=False, highlight=False)
    _print_excluded([(each.offer_id, each.reason) for each in explanation.excluded], out)


def _candidates(explanation: Explanation) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("offer", "score", "picked", "cost", "ttft", "±", "tokens/s", "±", "failing", "in flight", "samples"):
        table.add_column(name, justify="left" if name == "offer" else "right", overflow="fold")
    table.add_column("rests on", overflow="fold")
    for each in explanation.candidates:
        seen, price = each.prediction, each.metrics["price"]
        age = "nothing observed" if seen.age_s is None else f"last answer {seen.age_s:.1f} s ago"
        table.add_row(
            each.offer_id,
            f"{each.score:.4g}",
            f"{each.probability:.1%}",
            "unknown" if price is None else f"{usd_text(round(price), 8)} USD",
            f"{seen.ttft_s:.3f} s",
            f"{seen.ttft_error:.0%}",
            f"{seen.token_rate:.0f}",
            f"{seen.token_rate_error:.0%}",
            f"{seen.failure_share:.1%}",
            str(each.in_flight),
            f"{seen.samples:.1f}",
            f"{age}; prior: {seen.prior}",
        )
    return table


def _print_excluded(excluded: list[tuple[str, str]], out: Console) -> None:
    if excluded:
        out.print("Not considered:")
    for offer_id, reason in excluded:
        out.print(f"  {offer_id}: {reason}", markup=False, highlight=False)


def _print_recorded(told: dict[str, Any], out: Console) -> None:
    request = told["request"]
    ended = f"{request['status']}{' (' + request['error_kind'] + ')' if request['error_kind'] else ''}"
    out.print(
        f"{request['request_id']}: {request['model_requested'] or 'unreadable'} at {request['t_arrival_s']:.3f} s, "
        f"{ended} at {request['t_end_s']:.3f} s after {request['attempts']} attempts; cost {_cost(request)}.",
        markup=False,
        highlight=False,
    )
    for step in told["steps"]:
        decision, attempt = step["decision"], step["attempt"]
        out.print(
            f"\nAttempt {decision['attempt']}: {decision['strategy']} chose {decision['chosen']} at "
            f"{decision['t_s']:.3f} s, with probability {decision['propensity']:.3f}",
            markup=False,
            highlight=False,
        )
        table = Table(box=None, pad_edge=False)
        for name in ("", "candidate", "score", "in flight"):
            table.add_column(name, justify="right" if name in ("score", "in flight") else "left", overflow="fold")
        rows = sorted(
            zip(decision["scores"], decision["candidates"], decision["in_flight"], strict=True),
            key=lambda row: (row[0], row[1]),
        )
        for score, offer_id, in_flight in rows:
            mark = "→" if offer_id == decision["chosen"] else ""
            table.add_row(mark, offer_id, f"{score:.6g}", str(in_flight))
        out.print(table)
        _print_excluded([(each["offer_id"], each["reason"]) for each in decision["excluded"]], out)
        if attempt is not None:
            out.print(f"What came of it: {_came_of(attempt)}.", markup=False, highlight=False)


def _came_of(attempt: dict[str, Any]) -> str:
    parts = [f"{attempt['outcome']} after {attempt['t_end_s'] - attempt['t_dispatch_s']:.3f} s"]
    if attempt["t_first_token_s"] is not None:
        parts.append(f"first token after {attempt['t_first_token_s'] - attempt['t_dispatch_s']:.3f} s")
    if attempt["http_status"] is not None:
        parts.append(f"status {attempt['http_status']}")
    if attempt["fault"] is not None:
        parts.append(f"fault {attempt['fault']}")
    if attempt["output_tokens"] is not None:
        parts.append(f"{attempt['output_tokens']} tokens out")
    return ", ".join([*parts, f"cost {_cost(attempt)}"])


def _cost(row: dict[str, Any]) -> str:
    return "unknown" if row["cost_pico_usd"] is None else f"{usd_text(row['cost_pico_usd'], 8)} USD"
