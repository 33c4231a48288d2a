package deadletters

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Group is a number of dead letters that have something in common.
type Group struct {
	By    string `json:"by"`
	Value string `json:"value"`
	Count int    `json:"count"`
	// Example is the workflow of the latest one.
	Example string    `json:"example"`
	Oldest  time.Time `json:"oldest"`
	Newest  time.Time `json:"newest"`
	// Command lists them; empty: no filter means only them.
	Command string `json:"command"`

	// Key tells them from all others: it is what they have in common, of errors as
	// text.NormalError writes them. Of what is very long, it is a beginning and a checksum.
	Key string `json:"-"`

	common *text.CommonError // of the errors; nil where they are not what is counted by
}

// Groupings are what dead letters can be counted by.
var Groupings = map[string]func(Row) string{
	"error":    func(r Row) string { return text.NormalError(r.Reason) },
	"consumer": func(r Row) string { return r.owner },
	"topic":    func(r Row) string { return r.Topic },
	"class":    func(r Row) string { return r.Class },
}

// keyKept is how many bytes a Group's Key has at most.
const keyKept = 1000

// keyOf is the Key of a Group that has a value in common.
func keyOf(value string) string {
	if len(value) <= keyKept {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	end := " … " + hex.EncodeToString(sum[:16])
	return strings.ToValidUTF8(value[:keyKept-len(end)], "") + end
}

// Counter counts dead letters by what they have in common.
type Counter struct{ groups map[string]*Group }

// Count adds r to the group that it is in.
func (c *Counter) Count(by string, r Row) {
	value := Groupings[by](r)
	g := c.groups[value]
	if g == nil {
		if c.groups == nil {
			c.groups = map[string]*Group{}
		}
		g = &Group{Value: value, Key: keyOf(value), Example: r.WorkflowID, Oldest: r.Started, Newest: r.Started}
		if by == "error" {
			g.common = text.NewCommonError(r.Reason)
		}
		c.groups[value] = g
	} else if g.common != nil {
		g.common.Add(r.Reason)
	}
	g.Count++
	if r.Started.Before(g.Oldest) {
		g.Oldest = r.Started
	}
	if r.Started.After(g.Newest) {
		g.Newest, g.Example = r.Started, r.WorkflowID
	}
}

// Largest returns the groups, the largest first.
func (c *Counter) Largest() []Group {
	groups := []Group{}
	for _, g := range c.groups {
		if g.common != nil {
			g.Value, g.common = g.common.String(), nil
		}
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(x, y Group) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Value, y.Value))
	})
	return groups
}

// PrintGroups writes groups as a table, and below it the command that lists each.
func PrintGroups(w io.Writer, by string, groups []Group, now time.Time) error {
	if len(groups) == 0 {
		text.Printf(w, "No dead letters.\n")
		return nil
	}
	t := text.NewTable(w, "COUNT", strings.ToUpper(by), "AGE", "EXAMPLE")
	for _, g := range groups {
		ages := text.Age(now.Sub(g.Newest))
		if oldest := text.Age(now.Sub(g.Oldest)); oldest != ages {
			ages += " to " + oldest
		}
		t.Row(strconv.Itoa(g.Count), text.OrDash(text.CutText(g.Value, 100)), ages, g.Example)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	head := "\nTo list them:\n"
	for _, g := range groups {
		if g.Command != "" {
			text.Printf(w, "%s  %s\n", head, g.Command)
			head = ""
		}
	}
	return nil
}
