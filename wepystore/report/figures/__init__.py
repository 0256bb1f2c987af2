"""One module a figure: what it shows, in Vega-Lite, and what it says."""
