"""Words with cases, as templates of plain text: a sentence a line, kept beside the code that counts."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


def lines(template: str, **values: object) -> list[str]:
    """The lines that a template of ``templates/`` makes of the values, which enter as they are and hold no breaks."""
    return _environment().get_template(template).render(values).removesuffix("\n").split("\n")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("reasoning.findings"),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
