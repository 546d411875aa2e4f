"""Questions asked of nets and bounds: flags, files and figures live here only."""

import time

BEGAN = time.time()  # no other module of ours was read before
