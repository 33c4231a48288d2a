package conservation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/worker"
)

// quick is the retry policy of the steps: enough tries for all troubles, and for
// processes that are killed.
var quick = saga.Retry{Attempts: 8, First: 100 * time.Millisecond, Max: 2 * time.Second}

// shapes are the sagas that there are. b is the database of the local steps.
func shapes(b *books) []saga.Saga[order] {
	l := func(name string) saga.StepDef { return local(b, name) }
	inner := shape("inner", remote("x", stock), l("y"))
	return []saga.Saga[order]{
		shape("locals", l("a"), l("b"), l("c")),
		shape("order", l("a"), remote("b", stock), remote("c", payment).AsPivot(), l("d"), remote("e", bank)),
		shape("parallel", l("a"), saga.Parallel("p", remote("b", bank), remote("c", stock), saga.Sequence("s", l("d"), remote("e", payment))), l("f")),
		shape("choice", l("a"), saga.Choose("way", saga.Pick(func(o order) string { return o.Case }),
			saga.Case("bank", remote("b", bank), l("c")), saga.Case("stock", remote("d", stock)), saga.Otherwise(l("e"))),
			remote("f", payment).When(saga.If(func(o order) bool { return o.Extra })), l("g")),
		shape("parks", l("a").Park(), remote("b", stock).Park(), l("c"), remote("d", bank).Park()),
		// Their Do may come late, after their Undo.
		shape("hasty", remote("a", bank).Timeout(2*time.Second).Retry(saga.Retry{Attempts: 2, First: time.Millisecond}),
			remote("b", stock).Timeout(2*time.Second).Retry(saga.Retry{Attempts: 2, First: time.Millisecond}), l("c")),
		shape("nested", l("a"), saga.Sub("inner", inner).Receive(saga.Into(func(o *order, in order) error {
			o.mark(in.Marks)
			return nil
		})), remote("z", payment)),
		// Later steps change the amounts of earlier ones, and of those beside them.
		shape("amounts", l("a"), remote("b", bank), spoiling(b, "c"), remote("d", stock),
			saga.Parallel("p", remote("e", payment), spoiling(b, "f")), remote("g", bank), spoiling(b, "h")),
	}
}

func shape(name string, steps ...saga.Step[order]) saga.Saga[order] {
	return saga.Saga[order]{Name: name, Key: func(o order) string { return o.ID }, Steps: steps}
}

func (o *order) mark(marks map[string]int64) {
	if o.Marks == nil {
		o.Marks = map[string]int64{}
	}
	maps.Copy(o.Marks, marks)
}

// local is a local step. Its Undo knows only from the state what there is to move
// back.
func local(b *books, name string) saga.StepDef {
	return saga.Local(name,
		func(ctx context.Context, tx *gorm.DB, o *order) error {
			o.mark(map[string]int64{name: o.Moves[name].Units})
			return b.run(ctx, tx, o.ID, name, "do", o.Moves[name], o.Moves[name].Units)
		},
		func(ctx context.Context, tx *gorm.DB, o *order) error {
			units, marked := o.Marks[name]
			if !marked {
				return holdfast.Permanent(fmt.Errorf("the state has lost what step %s did: %+v", name, o.Marks))
			}
			return b.run(ctx, tx, o.ID, name, "undo", o.Moves[name], units)
		}).Retry(quick)
}

// spoiling is a local step that changes in the state what all other steps are to
// move: what was begun before is undone with what it was given then.
func spoiling(b *books, name string) saga.StepDef {
	return saga.Local(name,
		func(ctx context.Context, tx *gorm.DB, o *order) error {
			o.mark(map[string]int64{name: o.Moves[name].Units})
			for step, m := range o.Moves {
				if spoils := map[string]string{"c": "ab", "f": "abcde", "h": "abcdefg"}; strings.Contains(spoils[name], step) {
					m.Account, m.Units = account("money", 0), m.Units/2+1
					o.Moves[step] = m
				}
			}
			return b.run(ctx, tx, o.ID, name, "do", o.Moves[name], o.Moves[name].Units)
		},
		func(ctx context.Context, tx *gorm.DB, o *order) error {
			return b.run(ctx, tx, o.ID, name, "undo", o.Moves[name], o.Marks[name])
		}).Retry(quick)
}

// ask is what a participant gets.
type ask struct {
	ID   string `json:"id"`
	Step string `json:"step"`
	Move move   `json:"move"`
}

// remote is a step of a participant's.
func remote(name, participant string) saga.StepDef {
	return saga.Message(name, participant+".do", participant+".undo").Retry(quick).
		Send(saga.From(func(o order) ask { return ask{ID: o.ID, Step: name, Move: o.Moves[name]} })).
		Receive(saga.Into(func(o *order, units int64) error {
			o.mark(map[string]int64{name: units})
			return nil
		}))
}

// participant takes part with a database.
func participant(name string, b *books) worker.Participant {
	act := func(op string) worker.Participation {
		return worker.TypedParticipation(func(ctx context.Context, tx *gorm.DB, a ask) (int64, error) {
			return a.Move.Units, b.run(ctx, tx, a.ID, a.Step, op, a.Move, a.Move.Units)
		})
	}
	return worker.Participant{Name: name, Topic: name + ".do", UndoTopic: name + ".undo", DB: b.DB,
		Concurrency: 8, Tries: 1, Ladder: ladder, Do: act("do"), Undo: act("undo")}
}

// ladder is long enough for an Undo to overtake a Do.
var ladder = []time.Duration{time.Second, 3 * time.Second}

// leaf is a step that moves something, where a saga comes to it.
type leaf struct {
	*core.Step
	db    string
	inner bool // of a sub-saga
}

// leaves are those that a completed saga has done.
func leaves(steps []core.Step, o order, inner bool) (out []leaf) {
	for i := range steps {
		switch s := &steps[i]; s.Kind {
		case core.Local:
			out = append(out, leaf{s, orders, inner})
		case core.Message:
			if db := s.Topic[:len(s.Topic)-len(".do")]; !s.Conditional || o.Extra {
				out = append(out, leaf{s, db, inner})
			}
		case core.Saga:
			out = append(out, leaves(s.Saga.Steps, o, true)...)
		case core.Choice:
			at := slices.IndexFunc(s.Steps, func(c core.Step) bool { return c.Case == o.Case })
			if at < 0 {
				at = slices.IndexFunc(s.Steps, func(c core.Step) bool { return c.Case == "" })
			}
			out = append(out, leaves(s.Steps[at].Steps, o, inner)...)
		default:
			out = append(out, leaves(s.Steps, o, inner)...)
		}
	}
	return out
}
