"""Files of other frameworks: read into a `Net`, written from one. None of the frameworks is needed."""

from lamina.interop.formats import FORMATS as FORMATS
from lamina.interop.formats import Format as Format
from lamina.interop.formats import format_for as format_for
from lamina.interop.formats import format_of_file as format_of_file
from lamina.interop.net import Net as Net
