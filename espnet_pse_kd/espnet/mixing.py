"""Dynamic mixing as an iterator of ESPnet."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from typing import Any

from espnet2.iterators.abs_iter_factory import AbsIterFactory
from torch import distributed
from torch.utils.data import DataLoader

from espnet_pse_kd.enrolment_vectors import EnrolmentVectors
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.espnet.options import build
from espnet_pse_kd.simulation.dynamic import DynamicMixing, MixtureDataset


def dynamic_mixing(args: argparse.Namespace) -> DynamicMixing | None:
    """``--dynamic_mixing``, None where training data lie on disk."""
    conf = getattr(args, "dynamic_mixing", None)
    return build("dynamic_mixing", DynamicMixing, conf) if conf else None


class MixtureIterFactory(AbsIterFactory):
    """Batches of an epoch of `DynamicMixing`, the same whatever process makes them.

    Args:
        dataset: endless set of mixtures.
        batch_size: samples per batch, over all ranks.
        collate: makes a batch of samples.
        num_workers: processes that mix; 0 mixes in the training's own.
        is_distributed: whether ranks share the batches.

    Raises:
        UserError: an epoch holds no whole batch, or a batch less than a sample for
            each rank.
    """

    def __init__(
        self,
        dataset: MixtureDataset,
        batch_size: int,
        collate: Callable[[Any], Any],
        num_workers: int = 0,
        is_distributed: bool = False,
    ) -> None:
        samples = dataset.conf.samples
        if samples < batch_size:
            raise UserError(
                f"dynamic_mixing: samples {samples}, below --batch_size {batch_size}; "
                "raise it"
            )
        self.dataset, self.batch_size = dataset, batch_size
        self.collate, self.num_workers = collate, num_workers
        self.rank, self.ranks = 0, 1
        if is_distributed:
            self.rank = distributed.get_rank()
            self.ranks = distributed.get_world_size()
        if batch_size < self.ranks:
            raise UserError(
                f"--batch_size {batch_size}: it is shared by {self.ranks} processes; "
                f"give at least {self.ranks}"
            )
        logging.info(
            f"[train] dynamic mixing: {samples} samples per epoch from "
            f"{dataset.conf.data}, seed {dataset.conf.seed}"
        )

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> DataLoader:
        """Batches of an epoch, counted from 1."""
        samples, size = self.dataset.conf.samples, self.batch_size
        first = (epoch - 1) * samples
        starts = range(first, first + samples - size + 1, size)
        batches = [list(range(start, start + size)) for start in starts]
        return DataLoader(
            self.dataset,
            batch_sampler=[batch[self.rank :: self.ranks] for batch in batches],
            num_workers=self.num_workers,
            collate_fn=self.collate,
            prefetch_factor=4 if self.num_workers else None,
        )


def mixture_iterator(
    args: argparse.Namespace, conf: DynamicMixing, iter_options: Any
) -> MixtureIterFactory:
    """The training's iterator, from ESPnet's options."""
    dataset = MixtureDataset(conf, EnrolmentVectors.load(args.train_enroll_vectors))
    return MixtureIterFactory(
        dataset,
        iter_options.batch_size,
        iter_options.collate_fn,
        args.num_workers,
        iter_options.distributed,
    )
