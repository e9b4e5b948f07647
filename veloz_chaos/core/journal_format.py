"""The version of the journal's format; a newer one is refused, an older one is read.

2: `target-reported`. 3: the plan's cluster. 4: steps, `run-judged`, the plan's occasion. 5: drills: `run-approved`,
`go-asked`, `go-answered`. 6: `target-reported` tells `replaced`.
"""

FORMAT = 6
