"""What a training text is before it becomes tokens: pieces, each of which is learnt or only read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """A stretch of text; ``learn`` says whether its tokens carry loss (a reply) or are context only (a prompt)."""

    text: str
    learn: bool


@dataclass(frozen=True)
class Document:
    """One training text, a sequence of pieces; special symbols stand in the text and become single ids."""

    pieces: tuple[Piece, ...]

    def text(self) -> str:
        """The whole text, for people and for training tokenizers."""
        return "".join(piece.text for piece in self.pieces)
