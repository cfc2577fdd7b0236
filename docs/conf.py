"""How Sphinx builds the documentation: `make docs`."""

import os
import sys
from pathlib import Path

import repro_magic

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

# The tutorial calls `repro-magic`, which is installed beside this Python.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

project = "repro-magic"
copyright = "the repro-magic maintainers"  # noqa: A001 - Sphinx's name for it
release = version = repro_magic.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "live_reference"]
exclude_patterns = ["_build", "jupyter_execute"]

# A link that leads nowhere is an error, also within a page.
nitpicky = False
myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3

# The tutorial runs in the build, and a cell that fails, fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 240
nb_merge_streams = True
suppress_warnings = ["mystnb.unknown_mime_type"]  # a receipt is for programs

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
maximum_signature_line_length = 80
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
napoleon_custom_sections = ["Source"]
python_display_short_literal_types = True

html_theme = "furo"
html_title = f"repro-magic {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = "$ "
