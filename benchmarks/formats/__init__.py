"""Tables as Markdown, LaTeX and HTML; what they say is decided before."""
