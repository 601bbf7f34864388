"""``python -m harness``: our packages load first, then the command line."""

from harness.userfile import yield_the_front

yield_the_front()

from harness.cli import main  # noqa: E402  the path must be in order first

main()
