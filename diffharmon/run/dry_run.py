"""`dry_run=true`: what a run or a sweep will cost, printed before it starts, without weights and without results."""

import json
import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from diffharmon.results.summary import text_table
from diffharmon.run.shards import Shard

log = logging.getLogger(__name__)
FILE = "price.json"


def dry_run(config: DictConfig, folder: Path) -> None:
    """Print what a job costs at most, and leave it in the job's folder for the sweep to add up.

    Raises:
        DiffharmonError: The dataset cannot be read, or the calls cannot be counted.
    """
    from diffharmon import results
    from diffharmon.config import build
    from diffharmon.pricing.price import price_of, sentence, speed_of, table

    if config.device is not None:
        speed_of(config.device)
    images = len(Shard.parse(config.shard).share(len(build(config.dataset))))
    price = price_of(config, images)
    if price.count.passes:
        print(text_table(table(price)))
    print(f"dry run: {sentence(price, config.device)}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    results.write_json(folder / FILE, {**price.to_json(), "device": config.device})


def print_total(folder: Path) -> None:
    """Print what the jobs of a sweep cost together; nothing where it was no dry run."""
    from diffharmon.pricing.price import total_line

    found: list[dict[str, Any]] = [json.loads(path.read_text("utf-8")) for path in folder.glob(f"*/{FILE}")]
    if not found:
        return
    known = all(price["tflop"] is not None for price in found)
    total = {key: sum(price[key] for price in found) for key in ("images", "samples")}
    total["tflop"] = sum(price["tflop"] for price in found) if known else None
    print(f"dry run: {len(found)} jobs, {total['images']} images in all: {total_line(total, found[0]['device'])}")


def announce(config: DictConfig, images: int) -> None:
    """Log what a job of a prepared sweep costs at most before it starts."""
    from diffharmon.errors import ConfigError
    from diffharmon.pricing.price import price_of, sentence

    try:
        log.info("expected cost: %s", sentence(price_of(config, images), config.device))
    except ConfigError as error:
        log.info("expected cost: not known; %s", error)
