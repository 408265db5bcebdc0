"""Colours that stay apart for every kind of colour vision."""

# Okabe and Ito, Color universal design, 2008; black comes last, as it hides what is drawn over it.
DISTINCT = (
    "#0072B2",  # blue
    "#E69F00",  # orange
    "#009E73",  # green
    "#CC79A7",  # purple
    "#56B4E9",  # sky blue
    "#D55E00",  # vermilion
    "#F0E442",  # yellow
    "#000000",  # black
)
# Of at least 13 CIELAB units from each other and from all above and below, with normal vision and
# with full protanopia, deuteranopia and tritanopia (Machado et al. 2009).
MUTED = ("#C3F6C3", "#DDB280", "#77E5FF", "#90884C", "#A2C3A2", "#80B2CC")
NEUTRAL = "#D0D0D0"  # no minimum, diverged, not finite
SEQUENTIAL = "viridis"
