"""The table of stages: which function answers for which parents."""

from collections.abc import Mapping

from hooks import cachedimage, imagecache, inventory, prefetch
from hooks.messages import Stage, Style
from hooks.resources import CACHE, CACHED, INVENTORY, JOB, NAMESPACE, POD, PREFETCH, ROLE, ROLE_BINDING, WEBHOOK

STAGES: Mapping[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("inventory", Style.DECORATOR, NAMESPACE, (INVENTORY, PREFETCH), inventory.sync, inventory.customize),
        Stage(
            "imagecache",
            Style.COMPOSITE,
            CACHE,
            (CACHED, WEBHOOK, ROLE, ROLE_BINDING, JOB),
            imagecache.sync,
            imagecache.customize,
            imagecache.asks,
        ),
        Stage(
            "cachedimage", Style.COMPOSITE, CACHED, (JOB,), cachedimage.sync, cachedimage.customize, cachedimage.asks
        ),
        Stage("prefetch", Style.COMPOSITE, PREFETCH, (POD,), prefetch.sync, prefetch.customize, prefetch.asks),
    )
}
