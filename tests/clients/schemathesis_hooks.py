"""For schemathesis: most requests are for things that are there, so that they get past a 404."""

import os
import random

import schemathesis

KNOWN = {
    "project": "demo",
    "session": os.environ["RDEV_SESSION"],
    "stream": "one",
    "schema": "exec-output.json",
}
# One in so many requests keeps what was drawn for it.
STRANGE = 4


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    if not path_parameters or random.randrange(STRANGE) == 0:
        return path_parameters
    return {name: KNOWN.get(name, value) for name, value in path_parameters.items()}
