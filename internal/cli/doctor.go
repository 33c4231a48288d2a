package cli

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
)

// finding is one thing that was looked at.
type finding struct {
	Part   string `json:"part"`
	Check  string `json:"check"`
	Level  level  `json:"level"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// findings are those of one part.
type findings struct {
	suggester
	part string
	all  []finding
}

func (f *findings) add(l level, check, remedy, format string, args ...any) {
	f.all = append(f.all, finding{f.part, check, l, fmt.Sprintf(format, args...), remedy})
}

func (f *findings) ok(check, format string, args ...any) { f.add(levelOK, check, "", format, args...) }

// diagnosis is what `holdfast doctor --json` writes.
type diagnosis struct {
	OK       bool      `json:"ok"`
	Findings []finding `json:"findings"`
}

// examination says what to look at.
type examination struct {
	groups, consumers []string
	skip              []string
	fix               bool
	management        string
	asked             asked
}

// doctorTimeout is how long the doctor takes at most, unless told otherwise.
const doctorTimeout = 10 * time.Second

// part is what can be examined.
type part struct {
	name, flag string
	examine    func(context.Context, *config, examination) []finding
}

// parts are what can be examined, in the order of the report.
var parts = []part{
	{"RabbitMQ", "rabbitmq", examineRabbitMQ},
	{"PostgreSQL", "postgresql", examinePostgreSQL},
	{"Temporal", "temporal", examineTemporal},
	{"Waiting", "waiting", examineWaiting},
}

func (e examination) validate() error {
	for _, g := range e.groups {
		if err := holdfast.ValidateName("group", g); err != nil {
			return err
		}
	}
	for _, c := range e.consumers {
		if err := holdfast.ValidateName("consumer", c); err != nil {
			return err
		}
	}
	for _, s := range e.skip {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.flag == s }) {
			return fmt.Errorf("--skip %s: want rabbitmq, postgresql, temporal or waiting", s)
		}
	}
	return nil
}

// examine looks at all parts at once.
func examine(ctx context.Context, c *config, e examination) diagnosis {
	e.asked = c.askOnce(ctx, e.skip)
	found := make([][]finding, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		if !slices.Contains(e.skip, p.flag) {
			wg.Go(func() { found[i] = p.examine(ctx, c, e) })
		}
	}
	wg.Wait()
	d := diagnosis{OK: true, Findings: slices.Concat(found...)}
	for i, f := range d.Findings {
		d.OK = d.OK && f.Level != levelProblem
		d.Findings[i].Detail, d.Findings[i].Remedy = oneLine(f.Detail), oneLine(f.Remedy)
	}
	return d
}
