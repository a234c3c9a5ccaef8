"""Reading examples.json, which `deeploc.runs.examples` writes."""

from pydantic import TypeAdapter, ValidationError

from deeploc.core.examples import Examples
from deeploc.errors import RunError
from deeploc.runs.folder import RunFolder

NAME = "examples.json"


def read_examples(folder: RunFolder) -> Examples | None:
    """Return what the model of a run says to a few inputs, None where nobody asked it.

    Parameters
    ----------
    folder
        The run folder.

    Raises
    ------
    RunError
        If the manifest or the file cannot be read, or the file is of another form.
    """
    record = folder.read_manifest().examples
    if record is None:
        return None
    file = folder.checked("examples", folder.path / NAME)
    try:
        return _FORM.validate_json(file.read_bytes(), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise RunError(
            f"{file} is broken: {place}: {first['msg']}; delete it and run the command that made "
            "the folder again"
        ) from None
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror}; run again") from error


_FORM = TypeAdapter(Examples)
