package main

import (
	"fmt"
	"slices"
	"strings"
)

// competitors in the order in which they are measured and printed.
var competitors = slices.Concat([]competitor{limit, traced, empty,
	usual, publish, publishBare, consume, consumeBare, consumeDB, consumeDBBare, backlog, dead, deadRedeliver,
	sagaLocal, sagaLocalUsual, sagaMixed, sagaMixedUsual}, lanes())

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

// choose picks competitors by their names and those of sets, each once; all if
// none is named.
func choose(only string, sets map[string][]competitor) (out []competitor, err error) {
	if only == "" {
		return competitors, nil
	}
	chosen := map[string]bool{}
	for name := range strings.SplitSeq(only, ",") {
		name = strings.TrimSpace(name)
		set, is := sets[name]
		if !is && !slices.Contains(names(competitors), name) {
			return nil, fmt.Errorf("there is no %q", name)
		}
		for _, member := range append(names(set), name) {
			chosen[member] = true
		}
	}
	for _, c := range competitors {
		if chosen[c.name] {
			out = append(out, c)
		}
	}
	return out, nil
}

func names(cs []competitor) []string {
	out := make([]string, len(cs))
	for i, c := range cs {
		out[i] = c.name
	}
	return out
}
