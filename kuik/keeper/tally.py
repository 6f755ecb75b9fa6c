"""What the keeper counts, as plain numbers that are read at a scrape."""

from dataclasses import dataclass, field

from kuik.keeper.volume import Room


@dataclass
class Tally:
    """Since the process began; one thread writes, others read."""

    room: Room = field(default_factory=Room)
    removed_tags: int = 0
    collections: int = 0
    failed_collections: int = 0
    freed_bytes: int = 0
    writer_away_seconds: float = 0.0
    failed_rounds: int = 0
    loose_tags: int = 0
    sweep_stopped: bool = False
    hashed_bytes: int = 0
    damaged_images: int = 0
    missing_images: int = 0
    healed: int = 0

    def hashed(self, size: int) -> None:
        """So many bytes were compared with their digest."""
        self.hashed_bytes += size

    def found(self, *, damaged: bool) -> None:
        """An image was not whole."""
        self.damaged_images += damaged
        self.missing_images += not damaged

    def swept(self, loose: int, *, stopped: bool) -> None:
        """So many tags stand for nothing, after a sweep that stopped to ask a person, or did not."""
        self.loose_tags, self.sweep_stopped = loose, stopped

    def removed(self, tags: int) -> None:
        """Tags went."""
        self.removed_tags += tags

    def collected(self, seconds: float, freed: int, *, failed: bool) -> None:
        """Garbage was collected, or that failed; the writer was away for so long."""
        self.collections += 1
        self.failed_collections += failed
        self.freed_bytes += freed
        self.writer_away_seconds += seconds

    def failed(self) -> None:
        """A round could not be done."""
        self.failed_rounds += 1
