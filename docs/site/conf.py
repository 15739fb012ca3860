"""Settings of Sphinx. The pages are those of docs/, as they are, in the folder that ``docs/site/build.py`` lays out."""

project = "reasoning"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "index"
exclude_patterns = ["**/_*"]

html_theme = "furo"
html_title = "reasoning"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False

# A fence without a language is a table or a file of ours, and no Python.
highlight_language = "none"
# Links to a heading, as code hosts make them.
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
