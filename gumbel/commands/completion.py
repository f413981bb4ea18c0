"""Completion of the command line in a shell."""

from gumbel.commands import Argument, command, parser


@command(Argument("shell", choices=["bash", "zsh", "fish"], help="shell to complete in"))
def completion(shell: str) -> None:
    """Print a script that completes `gumbel` in a shell.

    Bash reads it from its folder of completions; zsh from a folder on its fpath, as _gumbel; fish from
    ~/.config/fish/completions/gumbel.fish.

    Example:
      python -m gumbel completion bash > ~/.local/share/bash-completion/completions/gumbel
    """
    import shtab

    print(shtab.complete(parser("gumbel"), shell))
