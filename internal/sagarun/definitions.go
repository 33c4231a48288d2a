package sagarun

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
)

// Definitions are the sagas that a process has, by name and version. Add them all
// before anything is asked.
type Definitions struct {
	all map[definition]*saga.Compiled
}

type definition struct {
	name    string
	version int
}

// Add adds a saga and those that it has as steps. What is there already with the
// same plan is left as it is; with another plan, nothing is added and the error
// wraps [holdfast.ErrInvalid].
func (d *Definitions) Add(c *saga.Compiled) error {
	adding := append([]*saga.Compiled{c}, c.Subs()...)
	add := map[definition]*saga.Compiled{}
	for _, c := range adding {
		key := definition{c.Plan.Name, c.Plan.Version}
		other := cmp.Or(d.all[key], add[key])
		if other == nil {
			add[key] = c
			continue
		}
		if !same(other.Plan, c.Plan) {
			return fmt.Errorf("%w: saga %s version %d is registered with two different plans: "+
				"give the changed one the next version", holdfast.ErrInvalid, key.name, key.version)
		}
	}
	if d.all == nil {
		d.all = map[definition]*saga.Compiled{}
	}
	for key, c := range add {
		d.all[key] = c
	}
	return nil
}

func same(a, b core.Plan) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// All returns all of them, by name and version.
func (d *Definitions) All() []*saga.Compiled {
	out := make([]*saga.Compiled, 0, len(d.all))
	for _, c := range d.all {
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y *saga.Compiled) int {
		return cmp.Or(cmp.Compare(x.Plan.Name, y.Plan.Name), cmp.Compare(x.Plan.Version, y.Plan.Version))
	})
	return out
}

// Find returns a version of a saga, 0 for the highest. The error wraps
// [holdfast.ErrNotFound], and says which versions there are.
func (d *Definitions) Find(name string, version int) (*saga.Compiled, error) {
	if c := d.all[definition{name, version}]; c != nil {
		return c, nil
	}
	var highest *saga.Compiled
	var versions []string
	for _, c := range d.All() {
		if c.Plan.Name == name {
			highest = c
			versions = append(versions, strconv.Itoa(c.Plan.Version))
		}
	}
	switch {
	case highest == nil:
		return nil, fmt.Errorf("%w: this process has no saga %s", holdfast.ErrNotFound, name)
	case version == 0:
		return highest, nil
	}
	return nil, fmt.Errorf("%w: this process has no version %d of saga %s, only %s",
		holdfast.ErrNotFound, version, name, strings.Join(versions, ", "))
}

// Local returns the name of a saga that has a local step, if one does, and the
// step's.
func (d *Definitions) Local() (name, step string) {
	for _, c := range d.All() {
		c.Plan.Each(func(s *core.Step, _ int) {
			if s.Kind == core.Local && name == "" {
				name, step = c.Plan.Name, s.Name
			}
		})
	}
	return name, step
}
