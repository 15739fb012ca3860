"""How conversations are written as text; the formats of pretrained families are in ``formats``."""

from reasoning.data.chat.format import ChatFormat

__all__ = ["ChatFormat"]
