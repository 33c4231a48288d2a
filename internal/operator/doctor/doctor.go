// Package doctor examines an installation: RabbitMQ, PostgreSQL, Temporal, the processes that
// run, and what waits. Each check adds a finding with a level and a remedy. Only --fix
// changes anything. It stands on all other rooms of internal/operator.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Finding is one thing that was looked at.
type Finding struct {
	Part   string     `json:"part"`
	Check  string     `json:"check"`
	Level  text.Level `json:"level"`
	Detail string     `json:"detail"`
	Remedy string     `json:"remedy,omitempty"`
}

// Findings are those of one part.
type Findings struct {
	text.Suggester
	part string
	All  []Finding
}

func (f *Findings) add(l text.Level, check, remedy, format string, args ...any) {
	f.All = append(f.All, Finding{f.part, check, l, fmt.Sprintf(format, args...), remedy})
}

func (f *Findings) ok(check, format string, args ...any) {
	f.add(text.LevelOK, check, "", format, args...)
}

// together makes checks at the same time, and adds what they find in their order.
func (f *Findings) together(checks ...func(*Findings)) {
	found := make([]Findings, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		found[i] = Findings{Suggester: f.Suggester, part: f.part}
		wg.Go(func() { check(&found[i]) })
	}
	wg.Wait()
	for _, one := range found {
		f.All = append(f.All, one.All...)
	}
}

// Diagnosis is what `holdfast doctor --json` writes.
type Diagnosis struct {
	OK       bool      `json:"ok"`
	Findings []Finding `json:"findings"`
}

// Examination says what to look at.
type Examination struct {
	Groups, Consumers []string
	Skip              []string
	Fix               bool
	Management        string
	asked             reach.Asked
}

// Timeout is how long the doctor takes at most, unless told otherwise.
const Timeout = 10 * time.Second

// part is what can be examined.
type part struct {
	name, flag string
	examine    func(context.Context, *reach.Config, Examination) []Finding
}

// parts are what can be examined, in the order of the report.
var parts = []part{
	{"RabbitMQ", "rabbitmq", examineRabbitMQ},
	{"PostgreSQL", "postgresql", examinePostgreSQL},
	{"Temporal", "temporal", examineTemporal},
	{"Waiting", "waiting", examineWaiting},
}

// Validate says what is wrong with an examination.
func (e Examination) Validate() error {
	for _, g := range e.Groups {
		if err := holdfast.ValidateName("group", g); err != nil {
			return err
		}
	}
	for _, c := range e.Consumers {
		if err := holdfast.ValidateName("consumer", c); err != nil {
			return err
		}
	}
	for _, s := range e.Skip {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.flag == s }) {
			return fmt.Errorf("--skip %s: want rabbitmq, postgresql, temporal or waiting", s)
		}
	}
	return nil
}

// Examine looks at all parts at once.
func Examine(ctx context.Context, c *reach.Config, e Examination) Diagnosis {
	e.asked = c.AskOnce(ctx, e.Skip)
	found := make([][]Finding, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		if !slices.Contains(e.Skip, p.flag) {
			wg.Go(func() { found[i] = p.examine(ctx, c, e) })
		}
	}
	wg.Wait()
	d := Diagnosis{OK: true, Findings: slices.Concat(found...)}
	for i, f := range d.Findings {
		d.OK = d.OK && f.Level != text.LevelProblem
		d.Findings[i].Detail, d.Findings[i].Remedy = text.OneLine(f.Detail), text.OneLine(f.Remedy)
	}
	return d
}
