package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// namesTime is how long may be spent on which names there are.
const namesTime = 5 * time.Second

// noteConsumer says, where nothing was found for a consumer, that none of that name is
// known, and which names are near. Empty: no consumer was named.
func (a *app) noteConsumer(ctx context.Context, t *temporalServer, name string) {
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	known, _ := t.owners(ctx, deadFilter{prefix: a.Prefix, states: []string{stateAll}}) // others may know more
	for _, k := range a.known(ctx, nil) {
		known = append(known, k.Name)
	}
	answers, _ := a.askOnce(ctx, nil)()
	for _, p := range answers {
		for _, c := range p.Consumers {
			known = append(known, c.Name)
		}
		for _, c := range p.Remembers {
			known = append(known, c.Name)
		}
	}
	a.note(unknownName("consumer", name, known))
}

// noteGroup is noteConsumer for a producer group.
func (a *app) noteGroup(ctx context.Context, t *temporalServer, name string) {
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	known, _ := t.recentGroups(ctx)
	infos, _ := t.page(ctx, sagaFilter{prefix: a.Prefix}.query(), recentLimit)
	for _, info := range infos {
		if group, _, _, ok := splitSagaID(info.GetExecution().GetWorkflowId()); ok {
			known = append(known, group)
		}
	}
	answers, _ := a.askOnce(ctx, nil)()
	known = append(known, keptGroups(answers)...)
	a.note(unknownName("group", name, known))
}

// noteSaga is noteConsumer for the name of a saga.
func (a *app) noteSaga(ctx context.Context, t *temporalServer, name string) {
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	var known []string
	infos, _ := t.page(ctx, sagaFilter{prefix: a.Prefix}.query(), recentLimit)
	for _, info := range infos {
		if _, saga, _, ok := splitSagaID(info.GetExecution().GetWorkflowId()); ok {
			known = append(known, saga)
		}
	}
	answers, _ := a.askOnce(ctx, nil)()
	for _, p := range answers {
		for _, d := range p.Sagas {
			known = append(known, d.Name)
		}
	}
	a.note(unknownName("saga", name, known))
}

func (a *app) note(sentence string) {
	if sentence != "" {
		printf(a.Err, "%s\n", oneLine(sentence))
	}
}

// nearShown is how many names are told where none is near.
const nearShown = 10

// unknownName says that nothing has this name, and which names are near, or which
// there are; empty where the name is known.
func unknownName(what, name string, known []string) string {
	slices.Sort(known)
	known = slices.Compact(known)
	if slices.Contains(known, name) {
		return ""
	}
	said := fmt.Sprintf("No %s %q is known", what, name)
	near := nearTo(name, known)
	switch {
	case len(known) == 0:
		return said + ": nor is any other. Check --prefix, and that its processes run."
	case len(near) > 0:
		return said + ". Did you mean " + strings.Join(near, " or ") + "?"
	case len(known) > nearShown:
		return fmt.Sprintf("%s; among %d others there are %s.", said, len(known), join(known[:nearShown]))
	}
	return said + "; there are " + join(known) + "."
}

// nearTo returns those of the known names that a slip of the hand makes into name, the
// nearest first, three at most.
func nearTo(name string, known []string) []string {
	distance := map[string]int{}
	var near []string
	for _, k := range known {
		d := edits(strings.ToLower(name), strings.ToLower(k))
		part := len(name) >= 3 && (strings.Contains(strings.ToLower(k), strings.ToLower(name)) || len(k) >= 3 && strings.Contains(strings.ToLower(name), strings.ToLower(k)))
		if d <= max(1, min(len(name), len(k))/3) || part {
			distance[k] = d
			near = append(near, k)
		}
	}
	slices.SortStableFunc(near, func(x, y string) int { return cmp.Compare(distance[x], distance[y]) })
	return near[:min(len(near), 3)]
}

// edits is how many letters have to be put in, taken out or changed to make x into y.
func edits(x, y string) int {
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(x) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(y) {
			change := diagonal
			if x[i] != y[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(y)]
}
