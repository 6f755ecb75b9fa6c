"""The table of stages: which function answers for which parents."""

from collections.abc import Mapping

from hooks import cachedimage, imagecache, inventory
from hooks.messages import Stage, Style
from hooks.resources import CACHE, CACHED, INVENTORY, JOB, NAMESPACE

STAGES: Mapping[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("inventory", Style.DECORATOR, NAMESPACE, (INVENTORY,), inventory.sync, inventory.customize),
        Stage("imagecache", Style.COMPOSITE, CACHE, (CACHED,), imagecache.sync, imagecache.customize),
        Stage(
            "cachedimage", Style.COMPOSITE, CACHED, (JOB,), cachedimage.sync, cachedimage.customize, cachedimage.asks
        ),
    )
}
