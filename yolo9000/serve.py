"""``yolo9000 serve [RUN]``: a page to look at the tree and at what a run finds in photos."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from yolo9000.options import flags_of, parse, typed
from yolo9000.runtime.mistakes import Mistake, run
from yolo9000.serving.config import ServeConfig

if TYPE_CHECKING:
    import socket

    from yolo9000.serving.guard import Guard

PROGRAM = "yolo9000 serve"
ABOUT = """Open a page in the browser: search the tree, look at it as a picture, and try photos on a run.

  yolo9000 serve                          the tree of the original YOLO9000, without a net
  yolo9000 serve --tree wordtree.json     another tree
  yolo9000 serve runs/demo/joint          a run: its tree, what trained each node, and photos
  yolo9000 serve yolo9000.weights         darknet's weights, or an exported folder

The page works offline, and nothing leaves this machine. Other programs can ask the same: the page's own HTTP interface
is described at /openapi.json."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """All options of the server."""

    config: Annotated[ServeConfig, arg(name="")] = ServeConfig()


@dataclass(frozen=True, kw_only=True)
class Command(Options):
    """A server.

    Parameters
    ----------
    run : str or None
        The folder of a run, a checkpoint, darknet's weights, or an exported folder; without it the tree is shown alone.
    """

    run: Positional[Annotated[str | None, arg(metavar="RUN")]] = None


def main(words: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C; return the exit status: 0, or 2 for a mistake."""
    return run(
        lambda: _serve(parse(Command, typed(words), program=PROGRAM, about=ABOUT, options=Options)),
        flags=flags_of(Command),
        interrupted="stopped",
    )


def _serve(command: Command) -> int:
    config = command.config
    try:
        import uvicorn
    except ImportError as error:
        raise Mistake(f"the page needs {error.name}, which is not installed: pip install 'yolo9000[serve]'") from error
    listening = _listen(config)  # before the net is opened, which takes longer
    with listening:
        app = make_app(command.run, config)
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"Open http://{shown}:{port} in a browser. Ctrl-C stops the server.", flush=True)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                server_header=False,
                limit_concurrency=1000,  # sockets; beyond them uvicorn answers 503 by itself, and not as JSON
                timeout_keep_alive=10,
                timeout_graceful_shutdown=5,
            )
        )
        server.run(sockets=[listening])
    return 0


def make_app(run: str | None, config: ServeConfig) -> Guard:
    """The web app of a run, or of a tree alone.

    Parameters
    ----------
    run : str, optional
    config : ServeConfig

    Returns
    -------
    Guard
        An ASGI app.

    Raises
    ------
    Mistake, wordtree.TreeError
        The run or the tree cannot be opened.
    """
    from wordtree import load_tree
    from yolo9000.serving.app import create_app
    from yolo9000.serving.explorer import Explorer
    from yolo9000.serving.guard import hosts_of

    hosts, opened = hosts_of(config.host), config.open
    if run is None:
        chosen = opened.tree or "yolo9000"
        return create_app(Explorer(load_tree(chosen), origin=_origin(chosen)), hosts=hosts)

    from yolo9000.exporting.opening import open_as
    from yolo9000.exporting.running import ready
    from yolo9000.inference.darknet_files import letterbox_of
    from yolo9000.inference.predictor import Predictor
    from yolo9000.runtime.device import pick_device, use_huge_pages
    from yolo9000.serving.flat_tree import tree_to_show
    from yolo9000.serving.photos import Photos
    from yolo9000.serving.training_facts import facts_of

    use_huge_pages()
    device = pick_device(opened.device)
    trained = open_as(run, opened, device)
    if trained.detector.decodes_inside:
        raise Mistake(
            f"{run}: the net decodes inside, so other thresholds and names cannot be asked of it; serve the run "
            "itself, or export it without `decoded`"
        )
    running, settings = ready(trained, opened, device=device)
    letterbox = letterbox_of(trained, opened.letterbox)
    predictor = Predictor(running, device=device, settings=settings, letterbox=letterbox)
    photos = Photos(predictor, config.limits, size=trained.input_size(opened.size))
    facts = facts_of(trained)
    return create_app(Explorer(tree_to_show(trained.classes), facts, origin=facts.name), photos, hosts=hosts)


def _origin(tree: str) -> str:
    """What a page calls a tree: a bundled one by its name, and a file without its folder."""
    return tree.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _listen(config: ServeConfig) -> socket.socket:
    import socket

    try:
        return socket.create_server(
            (config.host, config.port), family=socket.AF_INET6 if ":" in config.host else socket.AF_INET, backlog=512
        )
    except OSError as error:
        raise Mistake(
            f"`port` {config.port} of {config.host}: cannot be listened at ({error.strerror or error}); name another, "
            "or 0 for one that is free"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
