package cli

import (
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// deadGroup is a number of dead letters that have something in common.
type deadGroup struct {
	By    string `json:"by"`
	Value string `json:"value"`
	Count int    `json:"count"`
	// Example is the workflow of the latest one.
	Example string    `json:"example"`
	Oldest  time.Time `json:"oldest"`
	Newest  time.Time `json:"newest"`
	// Command lists them.
	Command string `json:"command"`

	common *commonError // of the errors; nil where they are not what is counted by
}

// groupings are what dead letters can be counted by.
var groupings = map[string]func(deadRow) string{
	"error":    func(r deadRow) string { return normalError(r.Reason) },
	"consumer": func(r deadRow) string { return r.owner },
	"topic":    func(r deadRow) string { return r.Topic },
	"class":    func(r deadRow) string { return r.Class },
}

// counter counts dead letters by what they have in common.
type counter struct{ groups map[string]*deadGroup }

func (c *counter) count(by string, r deadRow) {
	value := groupings[by](r)
	g := c.groups[value]
	if g == nil {
		if c.groups == nil {
			c.groups = map[string]*deadGroup{}
		}
		g = &deadGroup{Value: value, Example: r.WorkflowID, Oldest: r.Started, Newest: r.Started}
		if by == "error" {
			g.common = newCommonError(r.Reason)
		}
		c.groups[value] = g
	} else if g.common != nil {
		g.common.add(r.Reason)
	}
	g.Count++
	if r.Started.Before(g.Oldest) {
		g.Oldest = r.Started
	}
	if r.Started.After(g.Newest) {
		g.Newest, g.Example = r.Started, r.WorkflowID
	}
}

// largest returns the groups, the largest first.
func (c *counter) largest() []deadGroup {
	groups := []deadGroup{}
	for _, g := range c.groups {
		if g.common != nil {
			g.Value, g.common = g.common.String(), nil
		}
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(x, y deadGroup) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Value, y.Value))
	})
	return groups
}

func printGroups(w io.Writer, by string, groups []deadGroup, now time.Time) error {
	if len(groups) == 0 {
		printf(w, "No dead letters.\n")
		return nil
	}
	t := newTable(w, "COUNT", strings.ToUpper(by), "AGE", "EXAMPLE")
	for _, g := range groups {
		ages := age(now.Sub(g.Newest))
		if oldest := age(now.Sub(g.Oldest)); oldest != ages {
			ages += " to " + oldest
		}
		t.row(strconv.Itoa(g.Count), orDash(cutText(g.Value, 100)), ages, g.Example)
	}
	if err := t.flush(); err != nil {
		return err
	}
	printf(w, "\nTo list them:\n")
	for _, g := range groups {
		printf(w, "  %s\n", g.Command)
	}
	return nil
}
