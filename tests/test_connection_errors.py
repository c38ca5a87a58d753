from __future__ import annotations

import pytest

from resnets.connection_errors import is_connection_error


@pytest.mark.parametrize(
    ("said", "lost"),
    [
        ("[../gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:4", True),
        ("ProcessGroupNCCL.cpp:1 unhandled system error", True),
        ("NCCL error in: x.cpp", True),
        ("Connection reset by peer", True),
        ("cannot read 'data/gloo/peer.jpg'", False),
        ("can't read 'gloo', can't", False),
        ("no images in data/igloo/speer", False),
    ],
)
def test_a_lost_connection_is_recognized_but_not_in_file_names(said: str, lost: bool) -> None:
    assert is_connection_error(RuntimeError(said)) == lost
