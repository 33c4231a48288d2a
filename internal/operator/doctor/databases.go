package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// databases finds processes that should share a database and do not, and clocks
// that differ.
func (f *Findings) databases(answers []broker.ProcessStatus) {
	groups, consumers := map[string]map[string][]string{}, map[string]map[string][]string{}
	note := func(of map[string]map[string][]string, name, identity, instance string) {
		if name == "" || identity == "" {
			return
		}
		if of[name] == nil {
			of[name] = map[string][]string{}
		}
		of[name][identity] = append(of[name][identity], text.OrDash(instance))
	}
	for _, p := range answers {
		for _, d := range p.Databases {
			note(groups, d.Group, d.Identity, p.Instance)
			for _, c := range d.Consumers {
				note(consumers, c, d.Identity, p.Instance)
			}
		}
	}
	const remedy = "stop the processes that have the wrong one, or give their environment a --prefix or virtual host " +
		"of its own; what waits goes on by itself once a process with the right database runs"
	for _, name := range text.SortedKeys(groups) {
		if ids := groups[name]; len(ids) > 1 {
			f.add(text.LevelProblem, "database "+name, remedy, "processes of group %s use different databases: %s", name,
				whoHas(ids))
		} else {
			f.ok("database "+name, "%s", whoHas(ids))
		}
	}
	for _, name := range text.SortedKeys(consumers) {
		if ids := consumers[name]; len(ids) > 1 {
			f.add(text.LevelProblem, "database of consumer "+name, remedy,
				"processes of consumer %s use different databases: %s; a message that is delivered again takes effect again in "+
					"the other one", name, whoHas(ids))
		}
	}
	for _, p := range answers {
		for _, d := range p.Databases {
			if d.Clock != "" {
				f.add(text.LevelProblem, "clock of "+text.OrDash(p.Instance), "set the wrong clock right, by NTP for example",
					"%s", d.Clock)
			}
		}
	}
}

// whoHas says which processes have which database.
func whoHas(ids map[string][]string) string {
	var said []string
	for _, id := range text.SortedKeys(ids) {
		who := slices.Compact(slices.Sorted(slices.Values(ids[id])))
		more := ""
		if n := len(who) - namesShown; n > 0 {
			who, more = who[:namesShown], fmt.Sprintf(" and %d more", n)
		}
		said = append(said, fmt.Sprintf("%s in %s%s", id, strings.Join(who, ", "), more))
	}
	return strings.Join(said, "; ")
}

// identity says which database DATABASE_URL is.
func (f *Findings) identity(ctx context.Context, db *gorm.DB) {
	id, err := barrier.Identity(ctx, db)
	if err != nil {
		f.unknown("identity", err)
		return
	}
	f.ok("identity", "%s", id)
}

// databaseClock compares this machine's clock with the database's.
func (f *Findings) databaseClock(ctx context.Context, db *gorm.DB, now func() time.Time) {
	before := now()
	theirs, err := barrier.Clock(ctx, db)
	if err != nil {
		f.unknown("clock", err)
		return
	}
	f.clock("PostgreSQL", before, now(), theirs)
}

// clock says how far the clock of a part is from this machine's, which said before
// and after around it.
func (f *Findings) clock(part string, before, after, theirs time.Time) {
	if off := server.ClockOff(part, before, after, theirs); off != "" {
		f.add(text.LevelProblem, "clock", "set the wrong clock right, by NTP for example", "%s", off)
		return
	}
	f.ok("clock", "agrees with this machine's")
}

// temporalClock compares Temporal's clock with this machine's.
func (f *Findings) temporalClock(ctx context.Context, t *server.Temporal, prefix string, now func() time.Time) {
	off, known, err := t.ClockOff(ctx, prefix, now)
	switch {
	case err != nil:
		f.unknown("clock", err)
	case off != "":
		f.add(text.LevelProblem, "clock", "set the wrong clock right, by NTP for example", "%s", off)
	case known:
		f.ok("clock", "agrees with this machine's")
	}
}

func (f *Findings) unknown(check string, err error) {
	f.add(text.LevelWarning, check, "", "unknown: %s", text.Of(err))
}
