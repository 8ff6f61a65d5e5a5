"""Makes the cassettes that ship with the project: every prompt of a file, recorded at emulated providers.

They stand in for recordings of real providers until there are some, say so at the top of each file, and come out
byte for byte the same each time, so that a change of emulator or wire shows as a change of the files. Each prompt is
recorded streamed and not streamed, since a replay matches the stream flag exactly. Prices are not here: they belong
to the configuration that uses the cassettes.

    python -m clawbench.emulator.quickstart --into cassettes/quickstart
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click
import msgspec

from clawbench.cassettes.interaction import Interaction, RecordedTiming
from clawbench.cassettes.writer import write_cassette
from clawbench.emulator.profiles import QUICKSTART, ProviderProfile
from clawbench.emulator.provider import EmulatedProvider
from clawbench.rng import draws
from clawbench.types import Offer
from clawbench.wires import WIRES
from clawbench.workloads.prompts import Prompt, read_prompts

MODEL: Final = "llama-3.1-8b"

UPSTREAM_MODELS: Final = {
    "swiftsilicon": "llama-3.1-8b-instant",
    "evenkeel": "llama-3.1-8b-instruct",
    "thriftcloud": "meta-llama/Llama-3.1-8B-Instruct",
    "gustline": "llama3.1-8b",
}
"""What each provider calls the model: no two agree, as in life."""

PROVENANCE: Final = """\
Made by clawbench's emulator from fixed profiles, not recorded from a real provider.
Provider {name}, offer {offer}, {kind}. The provider, its host and its figures are invented;
the prompts were written for this project. Do not edit: `make cassettes` writes this file anew."""

_SEED: Final = 20_250_102
_DECIMALS: Final = 4  # of recorded instants: a tenth of a millisecond is finer than any network


def offer_of(profile: ProviderProfile) -> Offer:
    """The provider's offer of the model, without prices."""
    return Offer(
        id=f"{profile.name}/{MODEL}",
        provider=profile.name,
        model=MODEL,
        upstream_model=UPSTREAM_MODELS[profile.name],
        base_url=profile.base_url,
        profile=profile.latency,
    )


def file_name(profile: ProviderProfile, *, stream: bool) -> str:
    """Name of the cassette of an offer and a stream flag."""
    return f"{profile.name}-{'streamed' if stream else 'whole'}.yaml"


def interactions(profile: ProviderProfile, prompts: Sequence[Prompt], *, stream: bool) -> Iterator[Interaction]:
    """The prompts in their order, each as the gateway would send it and the provider answer it.

    Each depends on its prompt and the offer only, so a prompt added or changed leaves the others as they are.
    """
    offer = offer_of(profile)
    provider = EmulatedProvider(profile, models={offer.upstream_model: MODEL})
    wire = WIRES[offer.dialect]
    for index, prompt in enumerate(prompts):
        request = msgspec.structs.replace(prompt.request, model=MODEL, stream=stream, include_usage=stream)
        call = wire.encode(request, offer)
        # The stream flag is not in the key: both recordings of a prompt have the same luck.
        reply = provider.answer(call, draws(_SEED, prompt.id, offer.id))
        yield Interaction(
            file=file_name(profile, stream=stream),
            index=index,
            method=call.method,
            url=call.url,
            request_headers=call.headers,
            request_body=call.body,
            status=reply.status,
            headers=reply.headers,
            body=reply.body,
            timing=RecordedTiming(
                round(reply.headers_s, _DECIMALS),
                tuple((len(data), round(t_s, _DECIMALS)) for data, t_s in reply.chunks),
            ),
        )


def write_quickstart(into: Path, prompts: Sequence[Prompt]) -> list[Path]:
    """Write all cassettes below `into`, which is made if it is missing; the paths written. Raises `WriteFailed`."""
    into.mkdir(parents=True, exist_ok=True)
    written = []
    for profile in QUICKSTART:
        for stream in (True, False):
            path = into / file_name(profile, stream=stream)
            kind = "streamed answers" if stream else "answers that were not streamed"
            comment = PROVENANCE.format(name=profile.name, offer=offer_of(profile).id, kind=kind)
            write_cassette(path, interactions(profile, prompts, stream=stream), comment=comment)
            written.append(path)
    return written


@click.command()
@click.option("--into", type=click.Path(path_type=Path), required=True, help="Folder for the cassettes.")
@click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    default=Path("cassettes/prompts.jsonl"),
    show_default=True,
    help="Prompts to record.",
)
def main(into: Path, prompts: Path) -> None:
    """Write the quickstart cassettes."""
    for path in write_quickstart(into, read_prompts(prompts)):
        click.echo(f"{path}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
