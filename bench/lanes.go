package main

import "slices"

// lanes are the competitors of the Express lane and of cohorts that are not
// compared with anything else.
func lanes() []competitor {
	return slices.Concat([]competitor{limitConsumed, limitOutcome,
		express, expressDelivered, outbox, outboxSharded, cohorts, cohortsSlow}, costs(), undecided(), backlogs())
}

// sets are competitors that belong together, by the name that -only knows them
// by. A series is a set, too.
func sets() map[string][]competitor {
	all := map[string][]competitor{
		"lanes": append([]competitor{limit, traced, empty, usual}, lanes()...),
	}
	for _, c := range competitors {
		if c.series != "" {
			all[c.series] = append(all[c.series], c)
		}
	}
	return all
}
